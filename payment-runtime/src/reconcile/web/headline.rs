//! Whether the money is in order, in one sentence.
//!
//! Guarantees: pure; what is worst is said first; "everything agrees" is said only if every
//! channel's days up to the one named were compared, every proof holds and nothing waits for a
//! person.

use jiff::civil::Date;

use super::format;

/// What is known of one channel's day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing was compared, and the bill may not be there yet.
    Nothing,
    Refused,
    /// Begun, not ended.
    Unfinished,
    Compared {
        holds: bool,
    },
}

/// A channel's days, oldest first.
pub(super) struct ChannelDays {
    pub(super) name: &'static str,
    pub(super) days: Vec<(Date, Standing)>,
}

/// Differences that need a person: how many, and the amounts by currency.
#[derive(Default)]
pub(super) struct Needing {
    pub(super) count: u64,
    pub(super) amounts: Vec<(String, i128)>,
    /// Of these, how many wait for a second person.
    pub(super) proposed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Fine,
    /// Something is missing, or people have to decide.
    Attention,
    /// The books contradict themselves or a bill.
    Trouble,
}

impl Level {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::Attention => "attention",
            Self::Trouble => "trouble",
        }
    }

    /// The level without colour.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Fine => "In order",
            Self::Attention => "Needs attention",
            Self::Trouble => "Not in order",
        }
    }
}

pub(super) struct Headline {
    pub(super) level: Level,
    /// The first is the headline.
    pub(super) sentences: Vec<String>,
}

/// What there is to say, worst first. Bills of `yesterday` are made in the course of today.
pub(super) fn headline(
    channels: &[ChannelDays],
    yesterday: Date,
    needing: &Needing,
    violations: u64,
) -> Headline {
    let mut said: Vec<(Level, String)> = Vec::new();
    if violations > 0 {
        let found = format::counted(violations, "violation", "violations");
        let text = format!("The ledger is not sound: the last check found {found}");
        said.push((Level::Trouble, text));
    }
    for channel in channels {
        said.extend(of_channel(channel, yesterday));
    }
    said.extend(of_people(needing));
    // Stable: within a level, in the order they were found.
    said.sort_by_key(|(level, _)| std::cmp::Reverse(*level));
    let worst = said.first().map_or(Level::Fine, |(level, _)| *level);
    let mut sentences: Vec<String> = said.into_iter().map(|(_, text)| text).collect();
    let (level, last) = match (agreed_until(channels), worst) {
        (Some(day), Level::Fine) => (Level::Fine, format!("Everything agrees up to {day}")),
        (Some(day), _) => (worst, format!("Every day up to {day} was compared")),
        (None, _) => {
            let text = "No whole day has been compared yet";
            (worst.max(Level::Attention), text.to_owned())
        }
    };
    sentences.push(last);
    Headline { level, sentences }
}

fn of_channel(channel: &ChannelDays, yesterday: Date) -> Vec<(Level, String)> {
    let name = channel.name;
    let begun = channel
        .days
        .iter()
        .position(|(_, standing)| *standing != Standing::Nothing);
    let Some(begun) = begun else {
        let text = format!("{name} has not been compared in these days");
        return vec![(Level::Attention, text)];
    };
    let said = channel.days[begun..].iter().filter_map(|(day, standing)| {
        let day = *day;
        match standing {
            Standing::Compared { holds: true } | Standing::Unfinished => None,
            Standing::Nothing if day >= yesterday => None,
            Standing::Nothing => Some((
                Level::Attention,
                format!("{name} of {day} was not compared"),
            )),
            Standing::Refused => Some((
                Level::Trouble,
                format!("The bill of {name} of {day} was refused"),
            )),
            Standing::Compared { holds: false } => Some((
                Level::Trouble,
                format!("The proof of {name} of {day} does not hold"),
            )),
        }
    });
    said.collect()
}

fn of_people(needing: &Needing) -> Option<(Level, String)> {
    if needing.count == 0 {
        return None;
    }
    let amounts: Vec<String> = needing
        .amounts
        .iter()
        .map(|(currency, minor)| format::amount(*minor, currency))
        .collect();
    let what = format::counted(needing.count, "difference", "differences");
    let need = if needing.count == 1 { "needs" } else { "need" };
    let second = match needing.proposed {
        0 => String::new(),
        proposed => format!(" ({} a second one)", format::count(proposed)),
    };
    let text = format!("{what}, {}, {need} a person{second}", amounts.join(" and "));
    Some((Level::Attention, text))
}

/// The last day up to which every channel's days were compared without a gap.
fn agreed_until(channels: &[ChannelDays]) -> Option<Date> {
    channels.iter().map(agreed_of).min().flatten()
}

fn agreed_of(channel: &ChannelDays) -> Option<Date> {
    let begun = channel
        .days
        .iter()
        .skip_while(|(_, standing)| *standing == Standing::Nothing);
    begun
        .take_while(|(_, standing)| *standing == Standing::Compared { holds: true })
        .last()
        .map(|(day, _)| *day)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLDS: Standing = Standing::Compared { holds: true };

    fn channel(name: &'static str, standings: &[Standing]) -> ChannelDays {
        let days = (17..).zip(standings);
        ChannelDays {
            name,
            days: days
                .map(|(day, standing)| (Date::constant(2026, 11, day), standing.clone()))
                .collect(),
        }
    }

    fn said(channels: &[ChannelDays], needing: &Needing) -> (Level, Vec<String>) {
        let headline = headline(channels, Date::constant(2026, 11, 19), needing, 0);
        (headline.level, headline.sentences)
    }

    #[test]
    fn all_agrees_up_to_the_day_of_the_slower_channel() {
        let nothing = Standing::Nothing;
        let channels = [
            channel("A", &[nothing.clone(), HOLDS, HOLDS]),
            channel("B", &[HOLDS, HOLDS, nothing]),
        ];
        let expected = vec!["Everything agrees up to 2026-11-18".to_owned()];
        assert_eq!(
            said(&channels, &Needing::default()),
            (Level::Fine, expected)
        );
    }

    #[test]
    fn what_is_worst_is_said_first() {
        let channels = [
            channel("A", &[HOLDS, Standing::Nothing, HOLDS]),
            channel("B", &[HOLDS, Standing::Refused, HOLDS]),
            channel("C", &[HOLDS, Standing::Compared { holds: false }, HOLDS]),
        ];
        let needing = Needing {
            count: 3,
            amounts: vec![("CNY".to_owned(), 12_850), ("USD".to_owned(), 300)],
            proposed: 1,
        };
        let (level, sentences) = said(&channels, &needing);
        assert_eq!(level, Level::Trouble);
        let expected = [
            "The bill of B of 2026-11-18 was refused",
            "The proof of C of 2026-11-18 does not hold",
            "A of 2026-11-18 was not compared",
            "3 differences, 128.50 CNY and 3.00 USD, need a person (1 a second one)",
            "Every day up to 2026-11-17 was compared",
        ];
        assert_eq!(sentences, expected);
    }

    #[test]
    fn a_difference_alone_is_no_trouble_and_no_agreement() {
        let needing = Needing {
            count: 1,
            amounts: vec![("CNY".to_owned(), 1)],
            proposed: 0,
        };
        let (level, sentences) = said(&[channel("A", &[HOLDS])], &needing);
        assert_eq!(level, Level::Attention);
        assert_eq!(sentences[0], "1 difference, 0.01 CNY, needs a person");
    }

    #[test]
    fn nothing_is_claimed_where_nothing_was_compared() {
        let (level, sentences) = said(
            &[channel("A", &[Standing::Nothing, Standing::Nothing])],
            &Needing::default(),
        );
        assert_eq!(level, Level::Attention);
        let expected = [
            "A has not been compared in these days",
            "No whole day has been compared yet",
        ];
        assert_eq!(sentences, expected);
        let begun = [channel("A", &[Standing::Unfinished])];
        let (level, sentences) = said(&begun, &Needing::default());
        assert_eq!(level, Level::Attention);
        assert_eq!(sentences, ["No whole day has been compared yet"]);
    }

    #[test]
    fn an_unsound_ledger_is_the_headline() {
        let yesterday = Date::constant(2026, 11, 19);
        let channels = [channel("A", &[HOLDS])];
        let headline = headline(&channels, yesterday, &Needing::default(), 2);
        assert_eq!(headline.level, Level::Trouble);
        let expected = "The ledger is not sound: the last check found 2 violations";
        assert_eq!(headline.sentences[0], expected);
    }
}
