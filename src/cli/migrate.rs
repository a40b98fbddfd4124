//! Arguments of `vz-sync migrate`.

use clap::Subcommand;

/// Change or show the version of the database schema.
#[derive(Debug, Subcommand)]
pub enum MigrateCommand {
    /// Apply every migration that is missing
    Up {
        /// Also create the role vz_reader for SQL readers of the schema vz_api
        #[arg(long)]
        create_reader: bool,
    },
    /// Undo migrations, newest first
    ///
    /// Data that only the newer schema can hold is lost; take a backup first.
    Down {
        /// The version to end at; 0 removes everything
        #[arg(long, value_name = "VERSION")]
        to: u32,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Show which migrations are applied
    Status,
}
