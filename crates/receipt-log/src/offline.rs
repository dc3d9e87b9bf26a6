//! Checking and exporting a whole log without a server.
