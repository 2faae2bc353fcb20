//! `postern config`: the settings in force, and what a file may say.

use clap::{Args, Subcommand};

use super::{ConfigFile, Exit};
use crate::config;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print every setting in force, defaults included, as a file that means the same
    Print(Printing),
    /// Print the JSON Schema of the file, for editors
    Schema,
}

#[derive(Debug, Args)]
pub(super) struct Printing {
    #[command(flatten)]
    config: ConfigFile,
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: Command) -> Exit {
    match command {
        Command::Schema => {
            print!("{}", config::SCHEMA);
            Exit::Done
        }
        Command::Print(Printing { config, json }) => print(&config, json),
    }
}

fn print(file: &ConfigFile, json: bool) -> Exit {
    let effective = match config::effective(&file.clone().path()) {
        Ok(effective) => effective,
        Err(faults) => {
            println!("{faults}");
            return Exit::Config;
        }
    };
    match if json { effective.json() } else { effective.yaml() } {
        Ok(text) => {
            print!("{text}");
            Exit::Done
        }
        Err(error) => {
            eprintln!("postern: the settings cannot be written down: {error}");
            Exit::Failed
        }
    }
}
