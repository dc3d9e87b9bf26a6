//! The embedded data plane: a weighted reverse proxy in a process of its own.
