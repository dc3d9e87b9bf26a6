//! Folds of the log into what pages read.
