//! UTCTime and GeneralizedTime in the only forms that RFC 5280 section 4.1.2.5 allows, as seconds since 1970-01-01T00:00:00Z.

use super::der::{Element, Malformed, Reader, tag};

/// The next element of `reader`, which must be a Time.
pub(super) fn time(reader: &mut Reader<'_>) -> Result<i64, Malformed> {
    parse(&reader.element()?)
}

/// The next element of `reader`, if it is a Time.
pub(super) fn optional_time(reader: &mut Reader<'_>) -> Result<Option<i64>, Malformed> {
    match (reader.optional(tag::UTC_TIME)?, reader.optional(tag::GENERALIZED_TIME)?) {
        (None, None) => Ok(None),
        (Some(element), None) | (None, Some(element)) => parse(&element).map(Some),
        (Some(_), Some(_)) => Err(Malformed("two times stand where one is expected")),
    }
}

fn parse(element: &Element<'_>) -> Result<i64, Malformed> {
    const WRONG: Malformed = Malformed("a time is not in the form that RFC 5280 asks for");
    let digits = element.content.strip_suffix(b"Z").ok_or(WRONG)?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(WRONG);
    }
    let (year, rest) = match (element.tag, digits.len()) {
        // RFC 5280: two digits of the year mean 1950 to 2049.
        (tag::UTC_TIME, 12) => {
            let (year, rest) = digits.split_at_checked(2).ok_or(WRONG)?;
            let year = number(year);
            (if year < 50 { year.saturating_add(2000) } else { year.saturating_add(1900) }, rest)
        }
        (tag::GENERALIZED_TIME, 14) => {
            let (year, rest) = digits.split_at_checked(4).ok_or(WRONG)?;
            (number(year), rest)
        }
        _ => return Err(WRONG),
    };
    let mut pairs = rest.chunks_exact(2).map(number);
    let mut next = || pairs.next().unwrap_or(0);
    let (month, day, hour, minute, second) = (next(), next(), next(), next(), next());
    let month = u8::try_from(month).ok().and_then(|month| time::Month::try_from(month).ok());
    let date = month.and_then(|month| time::Date::from_calendar_date(year, month, u8::try_from(day).ok()?).ok()).ok_or(WRONG)?;
    let at = |value: i32| u8::try_from(value).map_err(|_| WRONG);
    let moment = time::Time::from_hms(at(hour)?, at(minute)?, at(second)?).map_err(|_| WRONG)?;
    Ok(date.with_time(moment).assume_utc().unix_timestamp())
}

/// The value of at most four decimal digits.
fn number(digits: &[u8]) -> i32 {
    digits.iter().fold(0, |value: i32, digit| value.saturating_mul(10).saturating_add(i32::from(digit.saturating_sub(b'0'))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(tag: u8, text: &str) -> Option<i64> {
        parse(&Element { tag, content: text.as_bytes(), encoded: text.as_bytes() }).ok()
    }

    #[test]
    fn both_forms_give_unix_seconds() {
        assert_eq!(of(tag::UTC_TIME, "700101000000Z"), Some(0));
        assert_eq!(of(tag::UTC_TIME, "491231235959Z"), Some(2_524_607_999));
        assert_eq!(of(tag::UTC_TIME, "500101000000Z"), Some(-631_152_000));
        assert_eq!(of(tag::GENERALIZED_TIME, "20500101000000Z"), Some(2_524_608_000));
        assert_eq!(of(tag::GENERALIZED_TIME, "99991231235959Z"), Some(253_402_300_799));
        assert_eq!(of(tag::GENERALIZED_TIME, "20240229120000Z"), Some(1_709_208_000));
    }

    #[test]
    fn every_other_form_is_refused() {
        for text in
            ["7001010000Z", "700101000000+0000", "700101000000", "701301000000Z", "700132000000Z", "700101240000Z", "700101000060Z", ""]
        {
            assert_eq!(of(tag::UTC_TIME, text), None, "{text}");
        }
        assert_eq!(of(tag::GENERALIZED_TIME, "20500101000000.5Z"), None);
        assert_eq!(of(tag::GENERALIZED_TIME, "20230229000000Z"), None);
        assert_eq!(of(tag::OCTET_STRING, "700101000000Z"), None);
    }
}
