//! Unpacking a body.

use std::io::{self, Read};

use zstd::zstd_safe::zstd_sys::ZSTD_ErrorCode;

use super::{Fault, FaultKind, whole};

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    /// As it is.
    Plain,
    /// `Content-Encoding: zstd`
    Zstd,
    /// `Content-Encoding: gzip`
    Gzip,
}

/// Unpacks a body of at most `most` bytes; a bomb costs no more than that.
pub(crate) fn unpack(packed: &[u8], packing: Packing, most: usize) -> Result<String, Fault> {
    let broken = |what: &str| {
        whole(FaultKind::Encoding, format!("the body is not {what}, or is cut short"), "")
    };
    let too_large = || {
        let message =
            format!("over {most} bytes after decompression; send fewer reports at a time");
        whole(FaultKind::TooMany, message, "")
    };
    let body = match packing {
        Packing::Plain => packed.to_vec(),
        Packing::Zstd => {
            zstd_within(packed, most).map_err(|_| broken("zstd"))?.ok_or_else(too_large)?
        }
        Packing::Gzip => {
            // Bodies pack about this well; growing costs a copy.
            let mut body = Vec::with_capacity(packed.len().saturating_mul(8).min(most / 4));
            flate2::bufread::MultiGzDecoder::new(packed)
                .take(most as u64 + 1)
                .read_to_end(&mut body)
                .map_err(|_| broken("gzip"))?;
            body
        }
    };
    if body.len() > most {
        return Err(too_large());
    }
    String::from_utf8(body).map_err(|_| broken("UTF-8"))
}

/// Unpacks in one pass, which needs no window beside the body, and so none that a frame may ask for;
/// with more room again where there was too little. Nothing where it is over `most` bytes.
fn zstd_within(packed: &[u8], most: usize) -> io::Result<Option<Vec<u8>>> {
    let mut decompressor = zstd::bulk::Decompressor::new()?;
    // Nearly all bodies pack worse than this.
    let mut room = packed.len().saturating_mul(16).clamp(1, most);
    loop {
        let mut body = Vec::with_capacity(room);
        match decompressor.decompress_to_buffer(packed, &mut body) {
            Ok(_) => return Ok(Some(body)),
            Err(error) if !is_too_small(&error) => return Err(error),
            Err(_) if room == most => return Ok(None),
            Err(_) => room = room.saturating_mul(4).min(most),
        }
    }
}

fn is_too_small(error: &io::Error) -> bool {
    let kind = ZSTD_ErrorCode::ZSTD_error_dstSize_tooSmall;
    error.get_ref().and_then(|e| e.downcast_ref::<zstd::Error>()).is_some_and(|e| e.is(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zstd_is_unpacked_up_to_its_bound_however_well_it_packed() {
        let most = 1 << 16;
        for length in [0, 1, 1000, most - 1, most, most + 1, 100 * most] {
            let packed = zstd::encode_all("x".repeat(length).as_bytes(), 1).unwrap();
            let unpacked = unpack(&packed, Packing::Zstd, most);
            match unpacked {
                Ok(body) => {
                    assert!(length <= most && body.len() == length, "{length}");
                }
                Err(fault) => {
                    assert!(length > most && fault.kind == FaultKind::TooMany, "{length}");
                }
            }
            for cut in 1..packed.len() {
                let fault = unpack(&packed[..cut], Packing::Zstd, most).unwrap_err();
                assert!(
                    length > most || fault.kind == FaultKind::Encoding,
                    "{length}, cut at {cut}"
                );
            }
        }
        // Several frames are one body.
        let two =
            [zstd::encode_all(&b"ab"[..], 1).unwrap(), zstd::encode_all(&b"c"[..], 1).unwrap()];
        assert_eq!(unpack(&two.concat(), Packing::Zstd, most).unwrap(), "abc");
    }
}
