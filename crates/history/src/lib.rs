//! Meaning of a thread: persistence policy, metadata facts, turns, replay and trackers as pure folds.
