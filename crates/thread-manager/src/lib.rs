//! LiveThread and ThreadManager: the life of active threads over any ThreadStore.
