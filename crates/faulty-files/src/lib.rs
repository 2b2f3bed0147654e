//! Fault injection for tests: file operations that fail, that end the process, or that a power loss interrupts.
//!
//! The [glossary](../../../docs/glossary.md) defines the terms.
//!
//! [`FaultyFiles`] implements [`FileSystem`](selvedge_rollout::FileSystem), the trait through which `selvedge-rollout`
//! and the local store change files. It forwards every call to real files and counts the calls. One chosen call goes
//! wrong: it [fails](Fault), or it is the last one, as if the process had ended there.
//!
//! ```text
//! code under test ── FileSystem ── FaultyFiles ──┬── real files: the state that other processes see
//!                                  fault at n    └── Disk: the state of durable storage
//! ```
//!
//! [`Disk`] models durable storage in memory. It writes any of the states that a power loss can leave to a directory,
//! where the test opens them like a home.
//!
//! A test that must cover every failure runs its scenario once without a fault and asks for the
//! [calls](FaultyFiles::calls). It then repeats the scenario for each call with each of the [faults](Fault::of) that
//! the call can have.
//!
//! ```
//! use std::sync::Arc;
//! use selvedge_rollout::RolloutHome;
//! use selvedge_faulty_files::{Fault, FaultyFiles};
//!
//! # let dir = tempfile::tempdir()?;
//! let scenario = |files: &FaultyFiles, name: &str| {
//!     let home = RolloutHome::new(dir.path()).with_file_system(Arc::new(files.clone()));
//!     home.write_new_file(&dir.path().join(name), |out| out.write_all(b"whole"))
//! };
//! let files = FaultyFiles::new();
//! scenario(&files, "0")?;
//! for (at, call) in files.calls().iter().enumerate() {
//!     for fault in Fault::of(*call) {
//!         let name = format!("{at} {fault:?}");
//!         let outcome = scenario(&FaultyFiles::with_fault(at, *fault), &name);
//!         let path = dir.path().join(name);
//!         assert!(outcome.is_err() || std::fs::read(path)? == b"whole");
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod disk;
mod faulty;
mod random;

pub use disk::{Disk, PowerLoss};
pub use faulty::{Call, Fault, FaultyFiles};
