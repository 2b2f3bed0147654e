//! Tests of the `selvedge` program. They run the real binary on homes in temporary folders, with an empty environment.

#![expect(clippy::unwrap_used, reason = "a helper that fails has failed its test")]

mod support;

mod agent;
mod codex;
mod compressing;
mod copying;
mod credentials;
mod damage;
mod dates;
mod demo;
mod directories;
mod doctor;
mod documents;
mod homes;
mod ids;
mod importing;
mod index;
mod landing_pages;
mod lone_surrogates;
mod paging;
mod reading;
mod shown;
mod spent;
mod stats;
mod subagents;
mod trees;
mod writing;

#[cfg(unix)]
mod crash;
#[cfg(all(unix, feature = "postgres"))]
mod databases;
#[cfg(unix)]
mod full_disk;
#[cfg(unix)]
mod left_out;
#[cfg(unix)]
mod other_user;
#[cfg(unix)]
mod picking;
#[cfg(unix)]
mod sudo;
#[cfg(unix)]
mod tail;
#[cfg(unix)]
mod terminal;
