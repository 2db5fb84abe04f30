//! `keyward doctor`: examines what stands around keyward.

mod baseline;
mod echo;
mod gateway;
mod head;
mod judge;
mod kit;
mod paths;
mod probe;
mod raw;
mod report;
mod site;
mod smuggle;

use clap::Subcommand;

use super::{Failure, Status};

/// The commands.
#[derive(Subcommand, Debug)]
pub(super) enum DoctorCommand {
    /// Try to get past keyward through a gateway of yours, and report what did
    #[command(after_help = gateway::EXAMPLES)]
    Gateway(gateway::GatewayArgs),
}

/// Runs a command.
pub(super) fn run(command: &DoctorCommand) -> Result<Status, Failure> {
    match command {
        DoctorCommand::Gateway(args) => gateway::run(args),
    }
}
