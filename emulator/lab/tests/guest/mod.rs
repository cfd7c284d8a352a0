//! What is tested in guests, and of them.

mod agreement;
mod endings;
mod netem;

use std::process::ExitCode;

use libtest_mimic::Failed;

use crate::support::Test;

/// The tests.
pub const TESTS: &[(&str, Test)] = &[
    ("the_kernel_shows_what_was_asked", netem::the_kernel_shows_what_was_asked),
    ("a_change_keeps_the_rest_and_what_is_under_way", netem::a_change_keeps_the_rest_and_what_is_under_way),
    ("who_goes_around_the_shaping_is_noticed", netem::who_goes_around_the_shaping_is_noticed),
    ("relay_and_netem_agree", agreement::relay_and_netem_agree),
    ("a_guest_brings_its_exit_code_and_output", endings::a_guest_brings_its_exit_code_and_output),
    ("an_interrupt_reaches_the_program", endings::an_interrupt_reaches_the_program),
    ("a_crash_is_told_with_the_console", endings::a_crash_is_told_with_the_console),
    ("a_guest_that_hangs_is_ended", endings::a_guest_that_hangs_is_ended),
    ("killing_the_caller_ends_the_guest", endings::killing_the_caller_ends_the_guest),
    ("a_guest_needs_no_privilege", endings::a_guest_needs_no_privilege),
    ("a_guest_changes_nothing_on_the_host", endings::a_guest_changes_nothing_on_the_host),
];

/// Commands of this program inside guests, and one that holds a guest.
pub fn hidden() -> Option<ExitCode> {
    let command = std::env::args().nth(1)?;
    let outcome = match command.as_str() {
        "guest-shows" => netem::shows(),
        "guest-changes" => netem::changes(),
        "guest-bypass" => netem::bypasses(),
        "guest-grid" => agreement::grid_on_netem(),
        "guest-hold" => endings::hold(),
        other => return endings::command(other),
    };
    Some(outcome.map_or_else(failed, |()| ExitCode::SUCCESS))
}

#[expect(clippy::needless_pass_by_value, reason = "for map_or_else")]
fn failed(failed: Failed) -> ExitCode {
    println!("{}", failed.message().unwrap_or("without a word"));
    ExitCode::FAILURE
}
