//! Receipt payloads, their canonical form, their envelope, and verification.
