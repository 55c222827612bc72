//! `talaia schema`: the schemas, and contracts learnt from real output and held against it.

mod diff;
mod infer;

use super::args::SchemaCommand;
use super::docs;
use super::exit::{Exit, Failure};

pub(crate) fn run(command: &SchemaCommand) -> Result<Exit, Failure> {
    match command {
        SchemaCommand::Print { name } => docs::schema(name.as_deref()),
        SchemaCommand::Infer(args) => infer::run(args),
        SchemaCommand::Diff(args) => diff::run(args),
    }
}
