//! Faults on request: rules that tests set, and what they do to an answer.

mod answer;
pub(crate) mod body;
mod content;
pub(crate) mod layer;
mod lie;

use std::collections::BTreeMap;
use std::sync::Mutex;

use regex::Regex;
use serde::de::IntoDeserializer;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::route::RouteClass;
use crate::sync::lock;
use lie::Lie;

/// What a rule does. Fields combine: a stall can come before a status, a drip before a cut.
/// Times are in seconds; positions count bytes of the answer's body.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(clippy::struct_excessive_bools, reason = "independent faults, not states")]
pub(crate) struct Action {
    /// Wait before doing anything else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stall_before: Option<f64>,
    /// Answer with this status instead of handling the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<u16>,
    /// Headers of the answer: added to it, or making up the one that `status` gives.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) headers: BTreeMap<String, String>,
    /// Body of the answer that `status` gives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) body: Option<String>,
    /// Answer with a redirect to the same URL.
    pub(crate) redirect_loop: bool,
    /// Answer 200 with a body that claims to be JSON and isn't.
    pub(crate) garbage_json: bool,
    /// Answer 200 with sound JSON of at least this many bytes, which says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) huge_json: Option<u64>,
    /// Handle the request as if it had no `Range` header.
    pub(crate) ignore_range: bool,
    /// Give no more than this many bytes of a range, and say so in `Content-Range`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) at_most: Option<u64>,
    /// Change what a reconstruction says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lie: Option<Lie>,
    /// Send other bytes: each with its bits flipped.
    pub(crate) invert: bool,
    /// Send bytes of another place: those from this position on first, then those before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rotate: Option<u64>,
    /// Send this many bytes behind the body, and count them in its length.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) append: Option<usize>,
    /// Compress the body with gzip, and say so, whether or not the client takes that.
    pub(crate) gzip: bool,
    /// The same with Zstandard.
    pub(crate) zstd: bool,
    /// Send this many bytes, then nothing for `secs`, then the rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stall_after_bytes: Option<u64>,
    /// How long `stall_after_bytes` waits; without it, for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) secs: Option<f64>,
    /// Send this many bytes, then reset the connection (RST). Bytes on their way may be lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cut_after_bytes: Option<u64>,
    /// Send this many bytes, then close the connection as if that were all (FIN).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) close_after_bytes: Option<u64>,
    /// Send only this many bytes, as if that were all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) truncate: Option<u64>,
    /// Send nothing, and say so: the head of the answer stays as it is but for its length.
    pub(crate) empty: bool,
    /// Flip the bits of the byte at this position.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) corrupt_byte: Option<u64>,
    /// Send no more than this many bytes per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) drip: Option<u64>,
}

/// Which requests a rule takes: a kind of route, or every one (`"any"`) except `/_hub/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Any,
    Class(RouteClass),
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Any => serializer.serialize_str("any"),
            Self::Class(class) => class.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        if name == "any" {
            return Ok(Self::Any);
        }
        RouteClass::deserialize(name.into_deserializer()).map(Self::Class)
    }
}

/// A rule as tests write it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    /// The kind of route.
    pub(crate) route: Target,
    /// The HTTP method, if only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) method: Option<String>,
    /// Matched against the URL's path, as sent (still percent-encoded), without the query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) path_regex: Option<String>,
    /// Only requests with a `Range` header, or only those without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ranged: Option<bool>,
    /// Let this many matching requests pass first.
    #[serde(default)]
    pub(crate) skip: u64,
    /// Of those that match then, only each so-many-th.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub(crate) every: u64,
    /// Then fire this often; without it, always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) times: Option<u64>,
    /// What to do.
    pub(crate) action: Action,
}

fn one() -> u64 {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks like this")]
fn is_one(every: &u64) -> bool {
    *every == one()
}

#[derive(Debug)]
struct Armed {
    rule: Rule,
    path: Option<Regex>,
    seen: u64,
    fired: u64,
}

/// A rule and what became of it.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    #[serde(flatten)]
    rule: Rule,
    /// Requests that matched.
    seen: u64,
    /// How often the action was taken.
    fired: u64,
}

/// The rules in force, in the order in which they were set; the first that fires wins.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    rules: Mutex<Vec<Armed>>,
}

impl Faults {
    /// Adds rules behind those in force. A rule that could never work is an error.
    pub(crate) fn add(&self, rules: Vec<Rule>) -> Result<(), String> {
        let armed: Result<Vec<_>, _> = rules.into_iter().map(Armed::new).collect();
        lock(&self.rules).extend(armed?);
        Ok(())
    }

    /// Removes all rules.
    pub(crate) fn clear(&self) {
        lock(&self.rules).clear();
    }

    /// The rules and how often each fired.
    pub(crate) fn report(&self) -> Vec<Report> {
        let report = |armed: &Armed| Report {
            rule: armed.rule.clone(),
            seen: armed.seen,
            fired: armed.fired,
        };
        lock(&self.rules).iter().map(report).collect()
    }

    /// The action for a request, which this counts.
    pub(crate) fn take(
        &self,
        class: RouteClass,
        method: &str,
        path: &str,
        ranged: bool,
    ) -> Option<Action> {
        let mut rules = lock(&self.rules);
        let fired = |armed: &mut Armed| {
            armed.fires(class, method, path, ranged).then(|| armed.rule.action.clone())
        };
        rules.iter_mut().find_map(fired)
    }
}

impl Armed {
    fn new(rule: Rule) -> Result<Self, String> {
        let path = rule.path_regex.as_deref().map(Regex::new).transpose();
        let path = path.map_err(|error| error.to_string())?;
        if rule.action == Action::default() {
            return Err("the action does nothing".to_owned());
        }
        let seconds = [rule.action.stall_before, rule.action.secs];
        if seconds.into_iter().flatten().any(|s| !(0.0..=1e6).contains(&s)) {
            return Err("times must be between 0 and 1000000 seconds".to_owned());
        }
        if rule.every == 0 {
            return Err("every must be at least 1".to_owned());
        }
        if rule.action.at_most == Some(0) {
            return Err("at_most must be at least 1 byte".to_owned());
        }
        if rule.action.rotate == Some(0) {
            return Err("rotate must be at least 1".to_owned());
        }
        if rule.action.drip == Some(0) {
            return Err("drip must be at least 1 byte per second".to_owned());
        }
        if rule.action.status.is_some_and(|status| !(200..1000).contains(&status)) {
            return Err("the status must be between 200 and 999".to_owned());
        }
        Ok(Self { rule, path, seen: 0, fired: 0 })
    }

    fn fires(&mut self, class: RouteClass, method: &str, path: &str, ranged: bool) -> bool {
        let rule = &self.rule;
        let matches = match rule.route {
            Target::Any => true,
            Target::Class(wanted) => wanted == class,
        } && rule.method.as_deref().is_none_or(|m| m.eq_ignore_ascii_case(method))
            && rule.ranged.is_none_or(|wanted| wanted == ranged)
            && self.path.as_ref().is_none_or(|regex| regex.is_match(path));
        if !matches {
            return false;
        }
        self.seen += 1;
        let fires = self.seen > rule.skip
            && (self.seen - rule.skip).is_multiple_of(rule.every)
            && rule.times.is_none_or(|times| self.fired < times);
        self.fired += u64::from(fires);
        fires
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(rules: serde_json::Value) -> Faults {
        let faults = Faults::default();
        faults.add(serde_json::from_value(rules).unwrap()).unwrap();
        faults
    }

    /// `skip` lets the first requests pass and `times` ends the fault.
    #[test]
    fn rules_skip_and_run_out() {
        let faults = faults(serde_json::json!([
            {"route": "tree", "skip": 1, "times": 2, "action": {"status": 503}}
        ]));
        let fired: Vec<bool> =
            (0..5).map(|_| faults.take(RouteClass::Tree, "GET", "/", false).is_some()).collect();
        assert_eq!(fired, [false, true, true, false, false]);
        assert!(faults.take(RouteClass::Resolve, "GET", "/", false).is_none());
        let report = serde_json::to_value(faults.report()).unwrap();
        assert_eq!((report[0]["seen"].clone(), report[0]["fired"].clone()), (5.into(), 2.into()));
    }

    /// `every` takes each so-many-th, and two rules take two of three.
    #[test]
    fn rules_may_be_for_some() {
        let rule =
            |every| serde_json::json!({"route": "tree", "every": every, "action": {"status": 429}});
        let fired = |rules| -> Vec<bool> {
            let faults = faults(rules);
            (0..6).map(|_| faults.take(RouteClass::Tree, "GET", "/", false).is_some()).collect()
        };
        let third = [false, false, true, false, false, true];
        assert_eq!(fired(serde_json::json!([rule(3)])), third);
        let two_of_three = [false, true, true, false, true, true];
        assert_eq!(fired(serde_json::json!([rule(3), rule(2)])), two_of_three);
    }

    /// Method and path narrow a rule; `any` takes every kind of route.
    #[test]
    fn rules_match_method_and_path() {
        let faults = faults(serde_json::json!([
            {"route": "any", "method": "head", "path_regex": "\\.bin$", "action": {"status": 500}}
        ]));
        assert!(faults.take(RouteClass::Resolve, "HEAD", "/a.bin", false).is_some());
        assert!(faults.take(RouteClass::Storage, "GET", "/a.bin", false).is_none());
        assert!(faults.take(RouteClass::Resolve, "HEAD", "/a.txt", false).is_none());
    }

    /// A rule may be for ranges alone, or for what is asked for as a whole.
    #[test]
    fn rules_match_ranges() {
        let faults = faults(serde_json::json!([
            {"route": "storage", "ranged": true, "action": {"status": 403}},
            {"route": "storage", "ranged": false, "action": {"status": 400}}
        ]));
        for (ranged, status) in [(true, 403), (false, 400)] {
            let action = faults.take(RouteClass::Storage, "GET", "/lfs/x", ranged).unwrap();
            assert_eq!(action.status, Some(status));
        }
    }

    /// Mistakes in a rule are reported, not ignored: a test with a dead rule would prove nothing.
    #[test]
    fn rules_that_cannot_work_are_errors() {
        let bad = [
            serde_json::json!({"route": "tree", "action": {}}),
            serde_json::json!({"route": "tree", "action": {"drip": 0}}),
            serde_json::json!({"route": "storage", "action": {"rotate": 0}}),
            serde_json::json!({"route": "storage", "action": {"at_most": 0}}),
            serde_json::json!({"route": "storage", "every": 0, "action": {"status": 500}}),
            serde_json::json!({"route": "tree", "action": {"stall_before": -1.0}}),
            serde_json::json!({"route": "tree", "path_regex": "(", "action": {"status": 500}}),
        ];
        for rule in bad {
            let rule: Rule = serde_json::from_value(rule).unwrap();
            assert!(Faults::default().add(vec![rule]).is_err());
        }
        let unknown = serde_json::json!({"route": "nonsense", "action": {"status": 500}});
        assert!(serde_json::from_value::<Rule>(unknown).is_err());
    }
}
