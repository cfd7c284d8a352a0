//! The methods of the built-in service, which every shell offers.

use core::time::Duration;

use damc_wire::{RefusalReason, TraceContext};

use super::holding::LONGEST;

/// What a method leads to.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A result, at once.
    Done(Vec<u8>),
    /// The argument as the result, later.
    Later(Duration),
    /// No result.
    Failed(RefusalReason, String),
}

/// Runs a method of the service `prefix`. Arguments are text, separated by spaces, except for `echo`, which takes any bytes.
/// `context` is the trace context that the request carried.
#[must_use]
pub fn run(prefix: &str, method: &str, payload: &[u8], context: Option<TraceContext>) -> Outcome {
    match method {
        "echo" => Outcome::Done(payload.to_vec()),
        "add" => add(payload).map_or_else(bad_arguments, |sum| Outcome::Done(sum.to_string().into_bytes())),
        "bulk" => bulk(payload).map_or_else(bad_arguments, Outcome::Done),
        "whoami" => Outcome::Done(prefix.as_bytes().to_vec()),
        "trace" => Outcome::Done(context.map(|context| context.to_string()).unwrap_or_default().into_bytes()),
        "sleep" => numbers(payload)
            .and_then(|n| match n[..] {
                [ms] => u64::try_from(ms).map_err(|_| "the time must not be negative".to_owned()),
                _ => Err("takes one number: milliseconds".to_owned()),
            })
            .map_or_else(bad_arguments, |ms| Outcome::Later(Duration::from_millis(ms))),
        "fail" => {
            let detail = String::from_utf8_lossy(payload);
            let detail = if detail.is_empty() { "as asked".into() } else { detail };
            Outcome::Failed(RefusalReason::Failed, detail.into_owned())
        }
        other => Outcome::Failed(
            RefusalReason::NoSuchMethod,
            format!("no method {other:?}; there are echo, add, bulk, whoami, trace, sleep and fail"),
        ),
    }
}

/// The service examines itself: does it still compute?
#[must_use]
pub fn self_test(prefix: &str) -> bool {
    run(prefix, "add", b"2 3", None) == Outcome::Done(b"5".to_vec())
        && run(prefix, "echo", b"\x00\xff", None) == Outcome::Done(b"\x00\xff".to_vec())
        && run(prefix, "whoami", b"", None) == Outcome::Done(prefix.as_bytes().to_vec())
}

fn add(payload: &[u8]) -> Result<i64, String> {
    let numbers = numbers(payload)?;
    if numbers.is_empty() {
        return Err("takes numbers to add".to_owned());
    }
    numbers.iter().try_fold(0_i64, |sum, n| sum.checked_add(*n)).ok_or_else(|| "the sum is too large".to_owned())
}

/// So many bytes of text, in which each line says where it stands.
fn bulk(payload: &[u8]) -> Result<Vec<u8>, String> {
    let length = match numbers(payload)?[..] {
        [length] => usize::try_from(length).ok().filter(|length| *length <= LONGEST),
        _ => None,
    };
    let length = length.ok_or_else(|| format!("takes one number: bytes, 0 to {LONGEST}"))?;
    let mut bytes: Vec<u8> = (0..length.div_ceil(16)).flat_map(|line| format!("{line:015x}\n").into_bytes()).collect();
    bytes.truncate(length);
    Ok(bytes)
}

fn numbers(payload: &[u8]) -> Result<Vec<i64>, String> {
    let text = std::str::from_utf8(payload).map_err(|_| "arguments must be text".to_owned())?;
    text.split_whitespace().map(|word| word.parse().map_err(|_| format!("{word:?} is no number"))).collect()
}

fn bad_arguments(detail: String) -> Outcome {
    Outcome::Failed(RefusalReason::BadArguments, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(text: &str) -> Outcome {
        Outcome::Done(text.as_bytes().to_vec())
    }

    fn run(prefix: &str, method: &str, payload: &[u8]) -> Outcome {
        super::run(prefix, method, payload, None)
    }

    fn reason(outcome: &Outcome) -> Option<RefusalReason> {
        if let Outcome::Failed(reason, _) = outcome { Some(*reason) } else { None }
    }

    #[test]
    fn methods_answer_or_say_what_is_wrong() {
        assert_eq!(run("/A/1", "echo", b"x y"), done("x y"));
        assert_eq!(run("/A/1", "add", b"2 3"), done("5"));
        assert_eq!(run("/A/1", "add", b"-2 3 40"), done("41"));
        assert_eq!(run("/A/1", "whoami", b""), done("/A/1"));
        assert_eq!(run("/A/1", "bulk", b"20"), done("000000000000000\n0000"));
        assert_eq!(run("/A/1", "sleep", b"20"), Outcome::Later(Duration::from_millis(20)));
        assert_eq!(run("/A/1", "fail", b""), Outcome::Failed(RefusalReason::Failed, "as asked".into()));
        for (method, argument) in
            [("add", "2 x"), ("add", ""), ("add", "9223372036854775807 1"), ("sleep", "-1"), ("bulk", "-1")]
        {
            let outcome = run("/A/1", method, argument.as_bytes());
            assert_eq!(reason(&outcome), Some(RefusalReason::BadArguments), "{method} {argument}");
        }
        assert_eq!(reason(&run("/A/1", "fly", b"")), Some(RefusalReason::NoSuchMethod));
        assert!(self_test("/A/1"));
        assert_eq!(run("/A/1", "trace", b""), done(""));
        let context: TraceContext = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().unwrap();
        assert_eq!(super::run("/A/1", "trace", b"", Some(context)), done(&context.to_string()));
    }
}
