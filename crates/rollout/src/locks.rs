//! Locks that processes take on files of a home, and the processes that hold them.

mod coordination;
mod file_lock;
mod lock_holder;
mod maintenance_lock;
mod reference_lock;
mod unused_files;
mod writer_lock;

pub(crate) use file_lock::wait_for_lock;
pub use lock_holder::LockHolder;
pub use maintenance_lock::MaintenanceLock;
pub use reference_lock::ReferenceLock;
pub use writer_lock::WriterLock;
