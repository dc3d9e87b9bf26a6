//! The embedded store: log, projections, samples and access in one SQLite file.
