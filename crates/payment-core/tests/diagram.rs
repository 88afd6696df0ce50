//! `docs/states.md` is drawn from the transition tables; `make generate` writes it anew.

#![cfg(test)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use payment_core::refund::state_after_refunds;
use payment_core::{
    Currency, Decision, Evidence, Money, Observation, PaymentState, RefundEvidence,
    RefundObservation, RefundState, Source, decide, decide_refund,
};

const AMOUNT: Money = Money::new(9999, Currency::CNY);

/// Moves by their ends, each with the evidence that causes it.
type Moves = BTreeMap<(usize, usize), BTreeMap<&'static str, Vec<Source>>>;

fn payment_moves() -> Moves {
    use Observation as O;
    let observations = [
        O::NotSent,
        O::Refused,
        O::Accepted,
        O::Unclear,
        O::NotFound,
        O::Paid(AMOUNT),
        O::Closed,
    ];
    let mut moves = Moves::new();
    for (from, state) in PaymentState::ALL.into_iter().enumerate() {
        for observation in observations {
            for source in Source::ALL {
                let evidence = Evidence {
                    source,
                    observation,
                };
                if let Decision::Move(next) = decide(state, AMOUNT, evidence) {
                    add(&mut moves, from, index(next), observation.as_str(), source);
                }
            }
        }
    }
    moves
}

fn index(state: PaymentState) -> usize {
    PaymentState::ALL
        .iter()
        .position(|known| *known == state)
        .unwrap()
}

fn refund_moves() -> Moves {
    use RefundObservation as O;
    let observations = [
        O::Due,
        O::NotSent,
        O::Refused,
        O::Accepted,
        O::Unclear,
        O::NotFound,
        O::Succeeded(AMOUNT),
        O::Failed,
        O::Abnormal,
    ];
    let mut moves = Moves::new();
    for (from, state) in RefundState::ALL.into_iter().enumerate() {
        for observation in observations {
            for source in Source::ALL {
                let evidence = RefundEvidence {
                    source,
                    observation,
                };
                if let Decision::Move(next) = decide_refund(state, AMOUNT, evidence) {
                    let to = RefundState::ALL.iter().position(|s| *s == next).unwrap();
                    add(&mut moves, from, to, observation.as_str(), source);
                }
            }
        }
    }
    moves
}

fn add(moves: &mut Moves, from: usize, to: usize, observation: &'static str, source: Source) {
    let causes = moves.entry((from, to)).or_default();
    causes.entry(observation).or_default().push(source);
}

fn diagram(names: &[&str], moves: &Moves, extra: &[(&str, &str, &str)]) -> String {
    let mut text = String::from("```mermaid\nstateDiagram-v2\n");
    for ((from, to), causes) in moves {
        let causes: Vec<String> = causes
            .iter()
            .map(|(observation, sources)| {
                let sources: Vec<&str> = sources.iter().map(|source| source.as_str()).collect();
                format!("{observation} ({})", sources.join(", "))
            })
            .collect();
        let line = causes.join("; ");
        writeln!(text, "    {} --> {}: {line}", names[*from], names[*to]).unwrap();
    }
    for (from, to, cause) in extra {
        writeln!(text, "    {from} --> {to}: {cause}").unwrap();
    }
    text.push_str("```\n");
    text
}

/// What the sum of a payment's refunds does to it.
fn refund_effects() -> Vec<(&'static str, &'static str, &'static str)> {
    let after = |refunded, given_up| state_after_refunds(2, refunded, given_up).as_str();
    vec![
        (after(0, false), after(1, false), "refunded in part"),
        (after(0, false), after(2, false), "refunded"),
        (after(1, false), after(2, false), "refunded"),
        (after(1, false), after(0, false), "refund undone"),
        (after(2, false), after(1, false), "refund undone in part"),
        (after(2, false), after(0, false), "refund undone"),
        (after(0, true), after(2, true), "refunded"),
        (after(2, true), after(0, true), "refund undone"),
        (after(0, true), after(0, false), "reopened by policy"),
    ]
}

fn document() -> String {
    let payments: Vec<&str> = PaymentState::ALL.iter().map(|s| s.as_str()).collect();
    let refunds: Vec<&str> = RefundState::ALL.iter().map(|s| s.as_str()).collect();
    let refund_start = [
        ("[*]", "CREATED", "the channel wants a pause first"),
        ("[*]", "SUBMITTING", "reserved"),
    ];
    let mut effects = vec![(
        "[*]",
        "SUBMITTING",
        "recorded, before the channel is called",
    )];
    effects.extend(refund_effects());
    format!(
        "# States\n\nDrawn from the transition tables by `make generate`. Each arrow names what was \
         seen and who may say so; what is not drawn does not happen: it is kept, or recorded as \
         evidence that was not believed.\n\nThe ladder of sources, weakest first: clock, answer \
         (to our call), query, callback, bill. The clock never ends anything.\n\n## Payment\n\n\
         {}\n## Refund\n\n{}",
        diagram(&payments, &payment_moves(), &effects),
        diagram(&refunds, &refund_moves(), &refund_start),
    )
}

#[test]
fn the_drawn_states_are_the_decided_ones() {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/states.md");
    let drawn = document();
    if std::env::var_os("WRITE_DOCS").is_some() {
        std::fs::write(&file, &drawn).unwrap();
    }
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        committed == drawn,
        "docs/states.md is not what the tables say: run `make generate`"
    );
}
