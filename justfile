# DAMC testbed. `just --list` shows every recipe.

set shell := ["bash", "-euo", "pipefail", "-c"]

# Show the recipes
default:
    @just --list --unsorted

# Bring a topology up, judge it by all suites, leave results/ behind: `just emulate fig2`
[positional-arguments]
emulate topology *options: release
    @./target/release/damc run "$@"

# The Python node of conformance/foreign: the test vectors, then each role's place on `line` (needs Python's `cryptography`)
foreign: release
    cd conformance/foreign && python3 -m unittest
    ./conformance/foreign/take_places ./target/release/damc line

# Every test of the workspace, with and without privilege
test *options:
    cargo build --workspace --bins --tests
    cargo test --workspace --no-fail-fast {{ options }}

# Formatting, lints, purity of the sans-IO crates, Python
lint: lint-python
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    ./.ci/purity

# The Python that drives peers and runs in pods (needs ruff; without it a warning, under CI a failure)
lint-python:
    @./.ci/with ruff "python3 -m pip install ruff" bash -c 'ruff check . && ruff format --check emulator/bench conformance/foreign'

# Dependencies that nothing uses, licences, bans, sources: what `just deny` finds without its database; `just test` has it too
dependencies:
    cargo test --workspace --test dependencies

# The same as a build server runs
ci:
    ./.ci/run

# Optimised binaries in target/release
release:
    @cargo build --release --workspace --bins

# `damc` with its nodes, completions and man pages into a folder: `just install`, `just install /usr/local`
install prefix="~/.local": release
    @./.ci/install ./target/release "{{ prefix }}"

# A Debian package of target/release into target/debian (needs cargo-deb); `.ci/package-test` tries it in a clean root
package: release
    @./.ci/with cargo-deb "cargo install cargo-deb" ./.ci/package ./target/release

# Any `damc` command, for example `just damc up line --detach`
[positional-arguments]
damc *arguments: release
    @./target/release/damc "$@"

# Plant faults into a copy of the nodes, show which case catches each, write the matrix: `just faults [NAME…] [--live]`
[positional-arguments]
faults *arguments:
    @cargo run --quiet -p damc-faults -- "$@"

# Feed every reader and whole nodes what a coverage-guided fuzzer makes up, for so long each: `just fuzz 600 member`
fuzz seconds="60" *targets:
    ./conformance/fuzz/run {{ seconds }} {{ targets }}

# Explore flooding, database exchange and purge of 3 and 4 routers: all schedules with so many frames gone wrong
model depth="2":
    DAMC_MODEL_DEPTH={{ depth }} cargo test --release --package damc-sim --test model -- --nocapture --test-threads=2

# Play random networks, events and schedules in virtual time until something breaks a rule: `just explore --for 10min --seed 7`
[positional-arguments]
explore *options: release
    @./target/release/damc explore "$@"

# What carrying ordinary programs by name costs, beside the kernel's own IPv6 over the same chain of links
bench-services: release
    python3 emulator/bench/services.py ./target/release/damc results/bench

# Connections to a pool that come and go, through the gateways: wrong deliveries, memory
bench-churn connections="10000" seconds="60": release
    python3 emulator/bench/churn.py ./target/release/damc results/bench {{ connections }} {{ seconds }}

# Everything that can be measured, beside the peers that are installed, into results/published/bench; some 15 minutes, an hour with all peers
bench: bench-micro bench-relay bench-forwarding bench-convergence bench-labs

# Look-ups and shortest paths, then whole forwarding verdicts and updates of a table
bench-micro:
    cargo bench -p damc-bench --bench micro -- --out "$PWD/results/published/bench"
    cargo bench -p damc-forward

# What the relay carries on one link, and how late it is
bench-relay:
    cargo bench -p damc-lab --bench relay -- --out "$PWD/results/published/bench"

# One SR and SG-SR-SG, beside a bare relay and the kernel's IPv6 forwarding and bridge
bench-forwarding:
    cargo bench -p damc-daemon --bench forwarding -- --out "$PWD/results/published/bench"

# What is lost at cuts on Figure 2's core and on a graph of 50 routers, step by step, beside FRR and BIRD; half an hour with both
bench-convergence: release
    python3 emulator/bench/convergence.py ./target/release/damc results/published/bench

# Bringing labs of 16 to 300 nodes, or of given sizes, up and down, beside iproute2 alone and Mininet
bench-labs *nodes: release
    python3 emulator/bench/labs.py ./target/release/damc results/published/bench {{ nodes }}

# Advisories, licences, bans and sources of all dependencies (needs cargo-deny and access to its database)
deny:
    cargo deny check

# Accept changed snapshots and regenerate the JSON Schema
bless:
    INSTA_UPDATE=always DAMC_BLESS=1 cargo test --workspace

# API documentation
doc:
    cargo doc --workspace --no-deps
