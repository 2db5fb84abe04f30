//! The `keyward` command.

use std::process::ExitCode;

use mimalloc::MiMalloc;

// A request is read on one thread and may be answered on another: what that costs with the
// allocator of the C library are locks between the two.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    keyward::cli::main()
}
