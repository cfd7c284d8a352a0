//! The story of a case that did not pass: what was expected, what was seen, and where to look.

use maud::{Markup, html};

use super::{Annex, badge};
use crate::capture::CitedFrame;
use crate::verdict::CaseResult;

/// Log lines shown of each node.
const LINES: usize = 12;
/// Frames shown of each case.
const FRAMES: usize = 50;

/// One thing that was not as expected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Deviation {
    expected: String,
    saw: Option<String>,
}

/// A reason in parts. Cases write `expected: …; saw: …` once for each failed check; whatever else a reason says is an
/// expectation without a sight.
fn deviations(reason: &str) -> Vec<Deviation> {
    let mut found: Vec<Deviation> = Vec::new();
    for part in reason.split("; ") {
        let begins = part.starts_with("expected");
        match found.last_mut() {
            Some(last) if last.saw.is_none() && part.starts_with("saw: ") => last.saw = Some(part[5..].to_owned()),
            Some(last) if !begins => {
                let text = last.saw.as_mut().unwrap_or(&mut last.expected);
                text.push_str("; ");
                text.push_str(part);
            }
            _ => found.push(Deviation { expected: part.to_owned(), saw: None }),
        }
    }
    for deviation in &mut found {
        // Elsewhere a check writes `what: expected …, saw …`.
        if deviation.saw.is_none()
            && let Some((expected, saw)) = deviation.expected.rsplit_once(", saw ")
        {
            (deviation.expected, deviation.saw) = (expected.to_owned(), Some(saw.to_owned()));
        }
        if let Some(rest) = deviation.expected.strip_prefix("expected: ") {
            deviation.expected = rest.to_owned();
        }
    }
    found
}

/// Lines of evidence; checks that did not hold stand out.
pub(super) fn evidence(lines: &[String]) -> Markup {
    html! {
        ul .evidence {
            @for line in lines {
                li .broken[line.starts_with('✗')] .held[line.starts_with('✓')] { (line) }
            }
        }
    }
}

/// The story.
pub(super) fn story(case: &CaseResult, annex: &Annex) -> Markup {
    html! {
        article .story id={ "story-" (case.id) } tabindex="-1" {
            h3 { (badge(case.verdict.kind())) " " (case.id) }
            p .title { (case.title) ". " span .quiet {
                "Judges " @for row in &case.requirements { a href={ "#row-" (row) } { (row) } " " }
            } }
            dl {
                @for deviation in deviations(case.verdict.reason()) {
                    dt { "expected" } dd { (deviation.expected) }
                    @if let Some(saw) = &deviation.saw { dt { "seen" } dd .seen { (saw) } }
                }
            }
            (frames(&case.frames))
            @for file in &case.attachments {
                p { "Frames: " a href=(file) { (file) } ", in Wireshark with "
                    code { "-X lua_script:nodes/wire/dissector/damc.lua" } ", or " code { "damc decode " (file) } "." }
            }
            details open { summary { "What the case saw, in order" } (evidence(&case.evidence)) }
            (log_lines(case, annex))
        }
    }
}

/// The frames that the checks rest on.
fn frames(frames: &[CitedFrame]) -> Markup {
    html! {
        @if !frames.is_empty() {
            div .wide { table {
                thead { tr { th .number { "frame" } th .number { "ms" } th { "link" } th { "looked at for" } th { "what it says" } } }
                tbody {
                    @for one in frames.iter().take(FRAMES) {
                        tr {
                            td .number { (one.number) } td .number { (format!("{:.3}", one.at_ms)) }
                            td { (one.link) } td { (one.why) } td { code { (one.frame) } }
                        }
                    }
                }
            } }
            @if frames.len() > FRAMES { p .quiet { "… and " (frames.len() - FRAMES) " more; the capture marks them all." } }
        }
    }
}

/// The warnings of the nodes that the case names.
fn log_lines(case: &CaseResult, annex: &Annex) -> Markup {
    let text = [case.verdict.reason(), &case.evidence.join(" ")].concat();
    let named = annex.logs.iter().filter(|(node, lines)| names(&text, node) && !lines.is_empty());
    html! {
        @for (node, lines) in named {
            details {
                summary { "Warnings of " (node) ", " (lines.len()) }
                @let skipped = lines.len().saturating_sub(LINES);
                pre { @if skipped > 0 { "… " (skipped) " before\n" } @for line in &lines[skipped..] { (line) "\n" } }
            }
        }
    }
}

/// Whether a text names a node as a whole word.
fn names(text: &str, node: &str) -> bool {
    let in_identity = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    text.match_indices(node).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + node.len()..].chars().next();
        !before.is_some_and(in_identity) && !after.is_some_and(in_identity)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(expected: &str, saw: Option<&str>) -> Deviation {
        Deviation { expected: expected.to_owned(), saw: saw.map(str::to_owned) }
    }

    #[test]
    fn a_reason_falls_into_what_was_expected_and_what_was_seen() {
        let reason = "expected: a path; by the left; saw: sg-1; sg-2; expected: no loss; \
                      expected within 80 ms: an LSA; saw: no such frame among 7";
        let expected = [
            of("a path; by the left", Some("sg-1; sg-2")),
            of("no loss", None),
            of("expected within 80 ms: an LSA", Some("no such frame among 7")),
        ];
        assert_eq!(deviations(reason), expected);
        assert_eq!(deviations("no LSA: expected 0, saw 1"), [of("no LSA: expected 0", Some("1"))]);
        assert_eq!(deviations("sg-1 ended by itself"), [of("sg-1 ended by itself", None)]);
    }

    #[test]
    fn nodes_are_named_as_whole_words() {
        assert!(names("from sg-1, then", "sg-1") && names("sg-1", "sg-1"));
        assert!(!names("sg-10", "sg-1") && !names("xsg-1", "sg-1"));
    }
}
