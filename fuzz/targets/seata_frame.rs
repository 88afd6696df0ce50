//! Frames and bodies of Seata's protocol: what is read is written and read again as the same.

#![no_main]

use bytes::BytesMut;
use seata_client::codec::{FrameCodec, Message};
use tokio_util::codec::{Decoder, Encoder};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let mut stream = BytesMut::from(input);
    while let Ok(Some(frame)) = FrameCodec.decode(&mut stream) {
        let mut again = BytesMut::new();
        FrameCodec.encode(frame.clone(), &mut again).unwrap();
        assert_eq!(FrameCodec.decode(&mut again), Ok(Some(frame.clone())));
        if let Ok(message) = Message::decode(frame.body) {
            let body = message.encode().unwrap();
            assert_eq!(Message::decode(body), Ok(message));
        }
    }
    let _ = Message::decode(input.to_vec().into());
});
