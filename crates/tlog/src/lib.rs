//! The transparency log's mathematics and text formats: RFC 6962 and the C2SP specifications.
