//! Proof that nothing is lost: effects on files that fail, stop or lose power where a test wants it.
//!
//! [`FaultyFiles`] stands at the seam of `selvedge-rollout`, [`FileSystem`](selvedge_rollout::FileSystem). It does everything
//! to real files, counts the calls, and does one of them otherwise: it [fails](Fault), or it is the last one, as if the process
//! had died there. Meanwhile it keeps in memory what would be on the medium: [`Disk`], from which any of the states can be
//! made that a power loss may leave.
//!
//! A test that wants to have tried everything runs its story once without a fault, asks for the
//! [calls](FaultyFiles::calls), and runs it again for each of them with each of the [faults](Fault::of) that it can have.
//!
//! ```
//! use std::sync::Arc;
//! use selvedge_rollout::RolloutHome;
//! use selvedge_faulty_files::{Fault, FaultyFiles};
//!
//! # let dir = tempfile::tempdir()?;
//! let story = |files: &FaultyFiles, name: &str| {
//!     let home = RolloutHome::new(dir.path()).with_file_system(Arc::new(files.clone()));
//!     home.write_new_file(&dir.path().join(name), |out| out.write_all(b"whole"))
//! };
//! let files = FaultyFiles::new();
//! story(&files, "0")?;
//! for (at, call) in files.calls().iter().enumerate() {
//!     for fault in Fault::of(*call) {
//!         let name = format!("{at} {fault:?}");
//!         let outcome = story(&FaultyFiles::with_fault(at, *fault), &name);
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
