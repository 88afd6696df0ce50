//! The world outside as it is: the real clock, real chance, and the channels over HTTP.

use std::sync::Arc;

use async_trait::async_trait;
use channels::{
    CallbackError, Channel, Channels, Closed, Created, NewOrder, NewRefund, Notice, OrderStatus,
    Outcome, RefundStatus,
};
use jiff::Timestamp;
use payment_core::ChannelKind;

use crate::clock;
use crate::ports::{Host, PayChannel, PayChannels};

/// This computer's clock and random numbers.
#[derive(Clone, Copy, Debug)]
pub struct System;

impl Host for System {
    fn now(&self) -> Timestamp {
        clock::now()
    }

    fn random(&self) -> u64 {
        rand::random()
    }
}

#[async_trait]
impl PayChannel for Channel {
    fn kind(&self) -> ChannelKind {
        Self::kind(self)
    }

    async fn create(&self, order: &NewOrder, now: Timestamp) -> Outcome<Created> {
        Self::create(self, order, now).await
    }

    async fn query(&self, channel_order_no: &str, now: Timestamp) -> Outcome<OrderStatus> {
        Self::query(self, channel_order_no, now).await
    }

    async fn close(&self, channel_order_no: &str, now: Timestamp) -> Outcome<Closed> {
        Self::close(self, channel_order_no, now).await
    }

    async fn refund(&self, refund: &NewRefund, now: Timestamp) -> Outcome<RefundStatus> {
        Self::refund(self, refund, now).await
    }

    async fn query_refund(
        &self,
        channel_order_no: &str,
        channel_refund_no: &str,
        now: Timestamp,
    ) -> Outcome<RefundStatus> {
        Self::query_refund(self, channel_order_no, channel_refund_no, now).await
    }

    fn verify_callback(
        &self,
        headers: &dyn Fn(&str) -> Option<String>,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Notice, CallbackError> {
        Self::verify_callback(self, headers, body, now)
    }
}

impl PayChannels for Channels {
    fn get(&self, kind: ChannelKind) -> Option<Arc<dyn PayChannel>> {
        Self::get(self, kind).map(|channel| channel as Arc<dyn PayChannel>)
    }
}
