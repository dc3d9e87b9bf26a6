//! Lines with a length limit.

use tokio::io::{AsyncRead, AsyncReadExt};

/// Reads lines of at most `limit` bytes. Cancel-safe: what was read stays in the buffer.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    reader: R,
    buffer: Vec<u8>,
    /// Bytes of `buffer` already searched for a line's end.
    searched: usize,
    limit: usize,
}

/// Why there is no line.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LineError {
    #[error("a line is longer than {0} bytes")]
    TooLong(usize),
    #[error("the connection broke off in the middle of a line")]
    Cut,
    #[error("reading failed")]
    Read(#[from] std::io::Error),
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(crate) fn new(reader: R, limit: usize) -> Self {
        Self { reader, buffer: Vec::new(), searched: 0, limit }
    }

    /// The reader, without what is left in the buffer.
    pub(crate) fn into_reader(self) -> R {
        self.reader
    }

    /// The next line without its end; `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<u8>>, LineError> {
        loop {
            if let Some(at) = self.buffer.get(self.searched..).and_then(|rest| rest.iter().position(|b| *b == b'\n')) {
                let end = self.searched + at;
                let rest = self.buffer.split_off(end + 1);
                let mut line = std::mem::replace(&mut self.buffer, rest);
                self.searched = 0;
                line.truncate(end);
                return Ok(Some(line));
            }
            self.searched = self.buffer.len();
            if self.buffer.len() > self.limit {
                return Err(LineError::TooLong(self.limit));
            }
            self.buffer.reserve(16 * 1024);
            if self.reader.read_buf(&mut self.buffer).await? == 0 {
                return if self.buffer.is_empty() { Ok(None) } else { Err(LineError::Cut) };
            }
        }
    }
}

/// One line, with its end.
pub(crate) fn encode<T: serde::Serialize>(value: &T) -> Vec<u8> {
    // Serialising our own types to memory cannot fail: no maps with other than string keys, no failing Serialize.
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_cut_at_the_limit() {
        let check = async |input: &'static [u8], expected: &[&[u8]], error: Option<&str>| {
            let mut lines = Lines::new(input, 8);
            for line in expected {
                assert_eq!(lines.next().await.unwrap().as_deref(), Some(*line));
            }
            match error {
                None => assert_eq!(lines.next().await.unwrap(), None),
                Some(text) => assert_eq!(lines.next().await.unwrap_err().to_string(), text),
            }
        };
        check(b"", &[], None).await;
        check(b"a\n\nbc\n", &[b"a", b"", b"bc"], None).await;
        check(b"a\nrest", &[b"a"], Some("the connection broke off in the middle of a line")).await;
        check(b"123456789abcdef", &[], Some("a line is longer than 8 bytes")).await;
    }
}
