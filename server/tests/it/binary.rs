//! The real executable: what it says when something is in the way.
