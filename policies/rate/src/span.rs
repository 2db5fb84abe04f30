//! The spans of time in which the host counts: the sixths of a minute, of an hour and of a day.

use std::fmt;

use keyward_policy::AttributeNeed;
use serde::Deserialize;

macro_rules! spans {
    ($($variant:ident $name:literal $seconds:literal)*) => {
        /// A span of time that ends with the request.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
        pub enum Span {
            $(#[doc = $name] #[serde(rename = $name)] $variant,)*
        }

        /// The attributes in which the host answers its counts.
        pub(crate) const NEEDS: [AttributeNeed; Span::ALL.len()] = [
            $(AttributeNeed { name: concat!("usage.requests-", $name), required: false },)*
        ];

        impl Span {
            /// Each window by itself, from its shortest span to all of it.
            pub(crate) const ALL: [Self; 18] = [$(Self::$variant,)*];

            /// How long it is, in seconds.
            #[must_use]
            pub const fn seconds(self) -> u32 {
                match self {
                    $(Self::$variant => $seconds,)*
                }
            }

            /// The name of the count of it.
            pub(crate) const fn attribute(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!("usage.requests-", $name),)*
                }
            }

            const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

spans! {
    TenSeconds "10s" 10
    TwentySeconds "20s" 20
    ThirtySeconds "30s" 30
    FortySeconds "40s" 40
    FiftySeconds "50s" 50
    Minute "1m" 60
    TenMinutes "10m" 600
    TwentyMinutes "20m" 1_200
    ThirtyMinutes "30m" 1_800
    FortyMinutes "40m" 2_400
    FiftyMinutes "50m" 3_000
    Hour "1h" 3_600
    FourHours "4h" 14_400
    EightHours "8h" 28_800
    TwelveHours "12h" 43_200
    SixteenHours "16h" 57_600
    TwentyHours "20h" 72_000
    Day "1d" 86_400
}

impl Span {
    /// The longest part of the host's windows that is not told apart, in seconds.
    pub(crate) const fn part_seconds(self) -> u32 {
        match self.seconds() {
            0..=60 => 1,
            61..=3_600 => 60,
            _ => 1_440,
        }
    }

    /// The shorter spans of the same window, longest first.
    pub(crate) fn shorter(self) -> impl Iterator<Item = Self> {
        let is_shorter = move |it: &Self| {
            it.part_seconds() == self.part_seconds() && it.seconds() < self.seconds()
        };
        Self::ALL.into_iter().rev().filter(is_shorter)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
