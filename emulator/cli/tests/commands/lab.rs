//! Commands on a lab that is up, in the order in which a newcomer would try them.

use crate::support::cannot;
use crate::transcript::Transcript;

#[test]
fn on_a_line() {
    if cannot() {
        return;
    }
    // What the kernel offers, versions that count events, sizes and process ids are the machine's.
    let mut said = Transcript::new("line")
        .vary(r"impairments by \w+( \([^)]*\))?", "impairments by BACKEND")
        .vary(r"(up|down), (relay|netem|plain)", "$1, BACKEND")
        .vary(r#""service":"\w+""#, r#""service":"BACKEND""#)
        .vary(r"version \d+", "version N")
        .vary(r" +in [\d.]+ s \d+ of \d+ frames delivered.*", "    in N s what the relay did")
        .vary(r#","(forward|backward)_relayed":\{[^}]*\}"#, r#","${1}_relayed":{COUNTERS}"#)
        .vary(r#""relayed_ms":\d+"#, r#""relayed_ms":N"#)
        .vary(r"damc why [0-9a-f]{16} tells", "damc why CALL tells")
        .vary(r"│ ready +│ \d+ +│ (\d+) +│ \d", "│ ready │ PID │ $1 │ 0");
    said.damc("up line --detach --seed 1")
        .damc("up line --detach")
        .damc("ps")
        .damc("show sr-1 fib")
        .damc("show sg-2 rib")
        .damc("show spa-1 services")
        .damc("show pod-1 services")
        .damc("show sr-1 weather")
        .damc("show sr-9 fib")
        .damc("call pod-1 /B/2 ping")
        .damc("call pod-1 /B/2 echo hello")
        .damc("call pod-1 /Z/9 ping")
        .damc("why-not sr-1 /Z/9")
        .damc("why 0123456789abcdef")
        .damc("call sr-1 /B/2 ping")
        .damc("call pod-1 B/2 ping");
    said.damc("link sg-1 sr-1 show")
        .damc("link sg-1 sr-1 set delay=2ms loss=0.5% --forward")
        .damc("link sg-1 sr-1 show --json")
        .damc("link sg-1 sr-1 set delay=2")
        .damc("link sg-1 sr-1 set colour=red")
        .damc("link sg-1 sg-2 show")
        .damc("link sg-1 sr-1 clear")
        .damc("exec pod-1 -- echo hi")
        .damc("exec pod-1 -- false")
        .damc("exec pod-1 -- no-such-program")
        .damc("exec pod-9 -- true")
        .damc("node pod-2 pause")
        .damc("node pod-2 resume")
        .damc("call pod-1,pod-2 /A/1,/B/2 echo hi")
        .damc("call pod-1 /B/2,/Z/9 echo hi")
        .damc("call pod-1 /B/2, echo hi")
        .damc("exec --all -- printenv DAMC_NODE")
        .damc("exec --all pod-1 -- true")
        .damc("exec -- true")
        .damc("exec --all -- sh -c false");
    said.damc("node pod-2 kill --wait")
        .damc("show sg-1 fib")
        .damc("link sg-1 sr-1 set loss=1% --wait")
        .damc("link sg-1 sr-1 down --wait")
        .damc("save")
        .damc("save FOLDER/saved.yaml")
        .damc("save FOLDER/saved.yaml")
        .damc("check FOLDER/saved.yaml")
        .damc("link sg-1 sr-1 clear --wait")
        .damc("node pod-2 start --wait")
        .damc("call pod-1 /B/2 echo back")
        .damc("link sg-1 sr-1 show --for 0.2")
        .damc("link sg-1 sr-1 up --for 1")
        .damc("link sg-1 sr-1 show --for -1")
        .damc("node pod-2 pause --wait --wait-within 0")
        .damc("node pod-2 resume --wait-within 1")
        .damc("node pod-2 resume")
        .damc("node pod-9 kill")
        .damc("logs pod-9");
    said.damc("down line").damc("ps").damc("down line");
    insta::assert_snapshot!(said.text());
}
