//! Bodies far longer than they should be, made as they are taken: blanks within the answer, plain
//! or packed. Neither is ever held as a whole here.
//!
//! The blanks are a string member in front of the others, so that the answer stays the JSON that it
//! was; in a page they just come first.

use std::convert::Infallible;

use bytes::Bytes;
use flate2::{Compress, Compression, Crc, FlushCompress};
use futures_util::stream::{self, Stream, StreamExt};

type Piece = Result<Bytes, Infallible>;

/// What stands before and behind the blanks.
fn around(body: &Bytes) -> (Bytes, Bytes) {
    if body.starts_with(b"{") {
        let rest = [b"\",", &body[1..]].concat();
        (Bytes::from_static(b"{\"filler\":\""), rest.into())
    } else {
        (Bytes::new(), body.clone())
    }
}

fn repeated(piece: Bytes, times: u64) -> impl Stream<Item = Piece> {
    stream::iter(0..times).map(move |_| Ok(piece.clone()))
}

/// The body with that many blanks in it.
pub(super) fn padded(body: &Bytes, blanks: u64) -> impl Stream<Item = Piece> + use<> {
    const PIECE: u64 = 256 * 1024;
    let (before, behind) = around(body);
    let piece = Bytes::from(vec![b' '; PIECE as usize]);
    let rest = piece.slice(..(blanks % PIECE) as usize);
    stream::iter([Ok(before)])
        .chain(repeated(piece, blanks / PIECE))
        .chain(stream::iter([Ok(rest), Ok(behind)]))
}

/// The same as gzip: about a kilobyte for each megabyte.
pub(super) fn packed(body: &Bytes, blanks: u64) -> impl Stream<Item = Piece> + use<> {
    const PIECE: u64 = 1024 * 1024;
    const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    let (before, behind) = around(body);
    let piece = vec![b' '; PIECE as usize];
    let behind = [&piece[..(blanks % PIECE) as usize], &behind].concat();
    let times = blanks / PIECE;

    let mut sum = Crc::new();
    sum.update(&before);
    let mut one = Crc::new();
    one.update(&piece);
    sum.combine(&many(one, times));
    sum.update(&behind);

    let mut packer = Compress::new(Compression::best(), false);
    let mut opening = HEADER.to_vec();
    opening.extend(deflated(&mut packer, &before, FlushCompress::Full));
    // Behind a full flush nothing refers to what came before, so that the piece can be repeated.
    let piece = deflated(&mut packer, &piece, FlushCompress::Full).into();
    let mut closing = deflated(&mut packer, &behind, FlushCompress::Finish);
    let length = (before.len() + behind.len()) as u64 + times * PIECE;
    closing.extend(sum.sum().to_le_bytes());
    // The format keeps the length modulo 2^32.
    closing.extend((length as u32).to_le_bytes());

    stream::iter([Ok(opening.into())])
        .chain(repeated(piece, times))
        .chain(stream::iter([Ok(closing.into())]))
}

/// The sum of what `one` is the sum of, that many times over.
fn many(mut one: Crc, mut times: u64) -> Crc {
    let mut sum = Crc::new();
    while times > 0 {
        if times % 2 == 1 {
            sum.combine(&one);
        }
        let mut two = Crc::new();
        two.combine(&one);
        two.combine(&one);
        one = two;
        times /= 2;
    }
    sum
}

fn deflated(packer: &mut Compress, mut input: &[u8], flush: FlushCompress) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 * 1024);
    loop {
        let before = packer.total_in();
        // Compressing into memory has no way to fail.
        let _ = packer.compress_vec(input, &mut out, flush);
        input = &input[(packer.total_in() - before) as usize..];
        if out.len() < out.capacity() {
            return out;
        }
        out.reserve(64 * 1024);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    const BODY: &[u8] = br#"{"result":0,"infos":[]}"#;

    async fn whole(pieces: impl Stream<Item = Piece>) -> Vec<u8> {
        let pieces = pieces.collect::<Vec<_>>().await;
        pieces.into_iter().flat_map(|piece| piece.unwrap()).collect()
    }

    #[tokio::test]
    async fn what_is_packed_unpacks_to_what_is_padded() {
        let body = Bytes::from_static(BODY);
        for blanks in [0, 1, 5 * 1024 * 1024, 3 * 1024 * 1024 + 17] {
            let plain = whole(padded(&body, blanks)).await;
            assert_eq!(plain.len() as u64, blanks + 13 + BODY.len() as u64 - 1);
            let answer = serde_json::from_slice::<serde_json::Value>(&plain).unwrap();
            assert_eq!(answer["infos"], serde_json::json!([]));
            let packed = whole(packed(&body, blanks)).await;
            assert!(packed.len() < 64 * 1024, "{}", packed.len());
            let mut unpacked = Vec::new();
            // It checks sum and length, too.
            flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut unpacked).unwrap();
            assert!(unpacked == plain, "{blanks} blanks");
        }
    }
}
