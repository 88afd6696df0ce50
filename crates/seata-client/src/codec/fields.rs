//! Fields: big-endian integers and strings behind a length.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::CodecError;

/// Takes fields off the front of what arrived.
pub(super) struct Reader(pub(super) Bytes);

impl Reader {
    fn need(&self, field: &'static str, needed: usize) -> Result<(), CodecError> {
        let left = self.0.remaining();
        if left < needed {
            return Err(CodecError::Short {
                field,
                needed,
                left,
            });
        }
        Ok(())
    }

    pub(super) fn u8(&mut self, field: &'static str) -> Result<u8, CodecError> {
        self.need(field, 1)?;
        Ok(self.0.get_u8())
    }

    pub(super) fn i16(&mut self, field: &'static str) -> Result<i16, CodecError> {
        self.need(field, 2)?;
        Ok(self.0.get_i16())
    }

    pub(super) fn i32(&mut self, field: &'static str) -> Result<i32, CodecError> {
        self.need(field, 4)?;
        Ok(self.0.get_i32())
    }

    pub(super) fn i64(&mut self, field: &'static str) -> Result<i64, CodecError> {
        self.need(field, 8)?;
        Ok(self.0.get_i64())
    }

    /// A string behind two bytes of length.
    pub(super) fn short_text(&mut self, field: &'static str) -> Result<String, CodecError> {
        let length = self.i16(field)?;
        self.text(field, i32::from(length))
    }

    /// A string behind four bytes of length.
    pub(super) fn long_text(&mut self, field: &'static str) -> Result<String, CodecError> {
        let length = self.i32(field)?;
        self.text(field, length)
    }

    pub(super) fn text(&mut self, field: &'static str, length: i32) -> Result<String, CodecError> {
        let needed =
            usize::try_from(length).map_err(|_| CodecError::NegativeLength { field, length })?;
        self.need(field, needed)?;
        let text = std::str::from_utf8(&self.0[..needed])
            .map_err(|_| CodecError::Utf8 { field })?
            .to_owned();
        self.0.advance(needed);
        Ok(text)
    }

    /// A count, which says nothing yet about memory.
    pub(super) fn count(&mut self, field: &'static str) -> Result<usize, CodecError> {
        let length = self.i16(field)?;
        usize::try_from(length).map_err(|_| CodecError::NegativeLength {
            field,
            length: i32::from(length),
        })
    }

    pub(super) fn end(&self, after: &'static str) -> Result<(), CodecError> {
        match self.0.remaining() {
            0 => Ok(()),
            bytes => Err(CodecError::Trailing { after, bytes }),
        }
    }
}

pub(super) fn put_short_text(
    out: &mut BytesMut,
    field: &'static str,
    text: &str,
) -> Result<(), CodecError> {
    out.put_i16(i16::try_from(text.len()).map_err(|_| CodecError::TooLong {
        field,
        bytes: text.len(),
        max: i16::MAX as usize,
    })?);
    out.put_slice(text.as_bytes());
    Ok(())
}

pub(super) fn put_long_text(
    out: &mut BytesMut,
    field: &'static str,
    text: &str,
) -> Result<(), CodecError> {
    out.put_i32(i32::try_from(text.len()).map_err(|_| CodecError::TooLong {
        field,
        bytes: text.len(),
        max: i32::MAX as usize,
    })?);
    out.put_slice(text.as_bytes());
    Ok(())
}
