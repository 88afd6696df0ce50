//! A ZIP file with raw entry names: Alipay's are GBK without the UTF-8 flag, which no writer
//! library offers. Deflate, no ZIP64: callers stay far below 4 GiB.

use std::io::Write;

use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};

const VERSION: u16 = 20;
const DEFLATE: u16 = 8;
/// 1980-01-01, the oldest date the format knows: equal contents give equal bytes.
const DATE: u16 = 0x21;

pub(super) struct Entry {
    pub(super) name: Vec<u8>,
    pub(super) contents: Vec<u8>,
}

pub(super) fn zip(entries: &[Entry]) -> std::io::Result<Vec<u8>> {
    let mut file = Vec::new();
    let mut directory = Vec::new();
    for entry in entries {
        let offset = small(file.len())?;
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&entry.contents)?;
        let packed = encoder.finish()?;
        let common = common_header(entry, packed.len())?;
        file.extend_from_slice(b"PK\x03\x04");
        file.extend_from_slice(&common);
        file.extend_from_slice(&entry.name);
        file.extend_from_slice(&packed);
        directory.extend_from_slice(b"PK\x01\x02");
        directory.extend_from_slice(&VERSION.to_le_bytes());
        directory.extend_from_slice(&common);
        // Comment length, disk number, internal (2 bytes each) and external attributes (4 bytes).
        directory.extend_from_slice(&[0; 10]);
        directory.extend_from_slice(&offset.to_le_bytes());
        directory.extend_from_slice(&entry.name);
    }
    let count = u16::try_from(entries.len()).map_err(std::io::Error::other)?;
    let start = small(file.len())?;
    file.extend_from_slice(&directory);
    file.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    file.extend_from_slice(&count.to_le_bytes());
    file.extend_from_slice(&count.to_le_bytes());
    file.extend_from_slice(&small(directory.len())?.to_le_bytes());
    file.extend_from_slice(&start.to_le_bytes());
    file.extend_from_slice(&[0; 2]);
    Ok(file)
}

/// What the local and the central header share, from "version needed" to "extra length".
fn common_header(entry: &Entry, packed: usize) -> std::io::Result<Vec<u8>> {
    let mut crc = Crc::new();
    crc.update(&entry.contents);
    let name_length = u16::try_from(entry.name.len()).map_err(std::io::Error::other)?;
    let mut header = Vec::new();
    for value in [VERSION, 0, DEFLATE, 0, DATE] {
        header.extend_from_slice(&value.to_le_bytes());
    }
    for value in [crc.sum(), small(packed)?, small(entry.contents.len())?] {
        header.extend_from_slice(&value.to_le_bytes());
    }
    header.extend_from_slice(&name_length.to_le_bytes());
    header.extend_from_slice(&[0; 2]);
    Ok(header)
}

fn small(length: usize) -> std::io::Result<u32> {
    u32::try_from(length).map_err(std::io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read};

    use super::*;

    #[test]
    fn another_reader_reads_it() {
        let entry = |name: &[u8], contents: &[u8]| Entry {
            name: name.to_vec(),
            contents: contents.to_vec(),
        };
        let bytes = zip(&[entry(&[0xd2, 0xb5, b'.'], b"first"), entry(b"b", b"")]).unwrap();
        let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
        assert_eq!(archive.len(), 2);
        let mut first = archive.by_index(0).unwrap();
        assert_eq!(first.name_raw(), [0xd2, 0xb5, b'.']);
        let mut text = String::new();
        first.read_to_string(&mut text).unwrap();
        assert_eq!(text, "first");
    }
}
