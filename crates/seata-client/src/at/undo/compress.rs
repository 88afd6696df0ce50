//! Compression of undo logs. Written is GZIP or nothing; read is what Java's clients write, as far
//! as a kept library reads it.

use std::io::{Error, ErrorKind, Read, Write};

use flate2::read::{DeflateDecoder, GzDecoder, ZlibDecoder};
use flate2::write::GzEncoder;

use super::{Compression, UndoError};

/// A log is not unpacked to more than this.
const UNPACKED_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Compresses by GZIP.
pub(super) fn gzip(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// The bytes as they were before compression.
pub(super) fn unpack(kind: Compression, bytes: Vec<u8>) -> Result<Vec<u8>, UndoError> {
    let unpacked = match kind {
        Compression::None => return Ok(bytes),
        Compression::Gzip => all(GzDecoder::new(bytes.as_slice())),
        Compression::Deflater => all(ZlibDecoder::new(bytes.as_slice())),
        Compression::Zip => zip(&bytes),
        Compression::Zstd => zstd(&bytes),
        Compression::Lz4 => lz4(&bytes),
        Compression::SevenZ | Compression::Bzip2 => Err(Error::new(
            ErrorKind::Unsupported,
            "this compression is not supported; let all clients use gzip or zip",
        )),
    };
    unpacked.map_err(|source| UndoError::Compression { kind, source })
}

fn all(reader: impl Read) -> std::io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let read = reader.take(UNPACKED_BYTES_MAX + 1).read_to_end(&mut out)?;
    if u64::try_from(read).is_ok_and(|read| read > UNPACKED_BYTES_MAX) {
        return Err(Error::new(
            ErrorKind::InvalidData,
            "it unpacks to more than 1 GiB",
        ));
    }
    Ok(out)
}

/// Java's clients leave the archive without its directory, so the first entry is read as it comes.
fn zip(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    const HEAD: usize = 30;
    const DEFLATED: u16 = 8;
    let broken = |what| Error::new(ErrorKind::InvalidData, what);
    let (head, rest) = bytes
        .split_at_checked(HEAD)
        .filter(|(head, _)| head.starts_with(b"PK\x03\x04"))
        .ok_or_else(|| broken("it is not a ZIP archive"))?;
    let number = |at: usize| -> u16 {
        let two = head.get(at..at + 2).and_then(|two| two.try_into().ok());
        u16::from_le_bytes(two.unwrap_or_default())
    };
    if number(8) != DEFLATED {
        return Err(broken("its entry is not deflated"));
    }
    let names = usize::from(number(26)) + usize::from(number(28));
    let entry = rest.get(names..).ok_or_else(|| broken("it is cut off"))?;
    all(DeflateDecoder::new(entry))
}

fn zstd(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let decoder = ruzstd::decoding::StreamingDecoder::new(bytes).map_err(Error::other)?;
    all(decoder)
}

/// Blocks of lz4-java's stream: a magic word, a token with the method, both lengths and a
/// checksum, all little-endian; an empty block ends it.
fn lz4(mut bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    const HEAD: usize = 21;
    let broken = |what| Error::new(ErrorKind::InvalidData, what);
    let mut out = Vec::new();
    while let Some((head, rest)) = bytes.split_at_checked(HEAD) {
        let (magic, fields) = head.split_at(8);
        let (token, fields) = fields.split_at(1);
        let number = |at: usize| -> Option<usize> {
            let four: [u8; 4] = fields.get(at..at + 4)?.try_into().ok()?;
            usize::try_from(u32::from_le_bytes(four)).ok()
        };
        let lengths = number(0).zip(number(4));
        let (packed, unpacked) = lengths.ok_or_else(|| broken("it is cut off"))?;
        if magic != b"LZ4Block" {
            return Err(broken("it is not a stream of LZ4 blocks"));
        }
        if unpacked == 0 {
            break;
        }
        let (block, after) = rest
            .split_at_checked(packed)
            .ok_or_else(|| broken("it is cut off"))?;
        if unpacked > 64 << 20 || out.len() > 1 << 30 {
            return Err(broken("it unpacks to too much"));
        }
        match token.first().map(|token| token & 0xf0) {
            Some(0x10) => out.extend_from_slice(block),
            Some(0x20) => {
                let block = lz4_flex::block::decompress(block, unpacked);
                out.extend(block.map_err(Error::other)?);
            }
            _ => return Err(broken("its method is not known")),
        }
        bytes = after;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn check(kind: Compression, packed: Vec<u8>, text: &[u8]) {
        assert_eq!(unpack(kind, packed).unwrap(), text, "{kind}");
    }

    #[test]
    fn everything_that_is_written_is_read() {
        let text = b"{\"a\":1}".repeat(1000);
        check(Compression::None, text.clone(), &text);
        check(Compression::Gzip, gzip(&text).unwrap(), &text);
        let mut deflate = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        deflate.write_all(&text).unwrap();
        check(Compression::Deflater, deflate.finish().unwrap(), &text);
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        zip.start_file("zip", zip::write::SimpleFileOptions::default())
            .unwrap();
        zip.write_all(&text).unwrap();
        check(Compression::Zip, zip.finish().unwrap().into_inner(), &text);
        let mut zstd = Vec::new();
        let level = ruzstd::encoding::CompressionLevel::Fastest;
        ruzstd::encoding::compress(text.as_slice(), &mut zstd, level);
        check(Compression::Zstd, zstd, &text);
        let mut lz4 = Vec::new();
        for (block, token) in [
            (&text[..3500], 0x20),
            (&text[3500..], 0x10),
            (&[][..], 0x10),
        ] {
            let packed = if token == 0x20 {
                lz4_flex::block::compress(block)
            } else {
                block.to_vec()
            };
            lz4.extend(b"LZ4Block");
            lz4.push(token);
            lz4.extend(u32::try_from(packed.len()).unwrap().to_le_bytes());
            lz4.extend(u32::try_from(block.len()).unwrap().to_le_bytes());
            lz4.extend([0; 4]);
            lz4.extend(packed);
        }
        check(Compression::Lz4, lz4, &text);
    }

    #[test]
    fn broken_bytes_are_an_error() {
        for kind in [
            Compression::Gzip,
            Compression::Zip,
            Compression::Deflater,
            Compression::Zstd,
            Compression::Lz4,
            Compression::SevenZ,
        ] {
            assert!(unpack(kind, vec![0x31; 40]).is_err(), "{kind}");
        }
    }
}
