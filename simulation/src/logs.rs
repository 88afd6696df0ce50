//! The log lines of a world, looked at for secrets.
//!
//! Guarantees: every field of every span and event is looked at; nothing is written anywhere.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::Once;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::invariants::holds_canary;
use crate::world::World;

thread_local! {
    static WORLD: RefCell<Option<Arc<World>>> = const { RefCell::new(None) };
}

/// Makes this program's log lines go to the worlds that its threads run.
pub fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // A test program may have a subscriber of its own: then its lines are not looked at.
        let _ = tracing::subscriber::set_global_default(Listener);
    });
}

/// From now on, this thread's log lines are this world's.
pub fn listen(world: Option<Arc<World>>) {
    WORLD.set(world);
}

struct Listener;

#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = write!(self.0, "{}={value:?} ", field.name());
    }
}

fn heard(text: &str) {
    if !holds_canary(text) {
        return;
    }
    let world = WORLD.with_borrow(Clone::clone);
    if let Some(world) = world {
        world.broken("I13", || format!("a log line says {text}"));
    }
}

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::INFO
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut text = Text::default();
        span.record(&mut text);
        heard(&text.0);
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, values: &Record<'_>) {
        let mut text = Text::default();
        values.record(&mut text);
        heard(&text.0);
    }

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        heard(&text.0);
    }

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}
