//! The append-only log: sign, sequence, integrate, checkpoint, follow.
