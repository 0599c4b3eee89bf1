//! The way from a denial to an allow: the smallest set of keys that would have to hold something
//! else.

use super::alphabet;
use super::change::{Actual, Change};
use crate::policy::engine::condition::{Operand, Operands, Resource, Test};
use crate::policy::engine::decision;
use crate::policy::engine::facts::Facts;
use crate::policy::engine::point::{Point, Setting};
use crate::policy::engine::set::{Policy, Statement};
use crate::policy::engine::truth::Truth;
use crate::policy::language::document::Effect;
use crate::policy::language::key::Key;
use crate::policy::{Answer, Attributes, Query, Set};

use serde::Serialize;

/// The most changes that are searched for.
const CHANGES_MAX: usize = 3;

/// The most judgements of statements in one search.
const JUDGEMENTS_MAX: usize = 200_000;

/// What would make a request allowed.
///
/// A change lets one key hold something else. Every key may change, except those that say who asks
/// for which job (`g:UserName`, `g:UserId`, `g:PrincipalUrn`, `lychgate:issuer`,
/// `lychgate:authMethod`, account, region, project, job ID). One more group is one change of
/// `lychgate:groups`, and changes what is attached too. `g:CurrentTime` changes only if nothing
/// else leads to an allow, and a group that a guardrail's Deny exempts is named last of all.
///
/// What a key may change to is a finite alphabet: the values that the guardrails and the identity
/// policies of the caller (of the caller in the added group) name, values next to them, values of
/// the case that a variable would have to become, one text that is none of them, and absent. “No
/// smaller set” is exact over this alphabet, up to three changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Way {
    /// With these changes it would be allowed, and with fewer it would not.
    Changes {
        /// One for each key.
        changes: Vec<Change>,
    },
    /// More than three changes are needed.
    Far,
    /// Too many changes are possible: the search was given up.
    #[serde(rename = "given up")]
    GivenUp,
    /// No change helps: a Deny, `ceiling` or `none` decides whatever may change.
    Never {
        /// The decider, as suites name it.
        decider: String,
    },
}

/// Searches for the way of a request that is not allowed.
pub(super) fn find(set: &Set, query: &Query, attributes: &Attributes) -> Way {
    find_within(JUDGEMENTS_MAX, set, query, attributes)
}

/// Searches for the way with at most so many judgements of statements.
pub(super) fn find_within(
    judgements: usize,
    set: &Set,
    query: &Query,
    attributes: &Attributes,
) -> Way {
    let case = Point { query: query.clone(), attributes: attributes.clone() };
    let groups = groups(set, &case);
    if let Some(decider) = never(set, &case, &groups) {
        return Way::Never { decider };
    }
    let mut search = Search { set, left: judgements };
    let (exempt, plain): (Vec<_>, Vec<_>) = groups
        .into_iter()
        .partition(|it| !lifted(set, &case, &case.having(&Key::Groups, it)).is_empty());
    // A way within the guardrails is better than one that bypasses them.
    for (groups, others) in [(&plain, true), (&exempt, false)] {
        for time in [false, true] {
            let round = Round { groups, others, time };
            for size in 1..=CHANGES_MAX {
                if let Some((keys, world)) = search.size(&case, &round, size) {
                    let changes = changes(set, &case, &keys, &world);
                    return Way::Changes { changes };
                }
            }
        }
    }
    if search.left == 0 { Way::GivenUp } else { Way::Far }
}

fn changes(set: &Set, case: &Point, keys: &[Key], world: &Point) -> Vec<Change> {
    let change = |key: &Key| Change {
        key: key.to_string(),
        from: Actual::of(key, case),
        to: Actual::of(key, world),
        lifts: match key {
            Key::Groups => lifted(set, case, world),
            _ => Vec::new(),
        },
    };
    keys.iter().map(change).collect()
}

/// The Denies of the guardrails that do not apply to the caller of `world` because of a group that
/// the caller of `case` lacks.
pub(super) fn lifted(set: &Set, case: &Point, world: &Point) -> Vec<String> {
    let spares = |it: &&Statement| {
        it.conditions.iter().filter(|it| it.key == Key::Groups).any(|it| {
            let holds = |world: &Point| it.holds(Effect::Deny, world.facts());
            holds(case) == Truth::True && holds(world) == Truth::False
        })
    };
    set.guardrails.denies.iter().filter(spares).map(|it| it.name.to_string()).collect()
}

/// The caller's groups with one more, for each that attachments and conditions name.
pub(super) fn groups(set: &Set, case: &Point) -> Vec<Setting> {
    let principal = &case.query.principal;
    let mut names: Vec<&str> = set.attachments.groups().collect();
    for condition in set.statements().flat_map(|it| &it.conditions) {
        if let (Key::Groups, Test::Listed(it)) = (&condition.key, &condition.test)
            && let Operands::Text(_, them) = &it.operands
        {
            names.extend(them.iter().filter_map(|it| match it {
                Operand::Known(it) => Some(it.as_str()),
                Operand::Template(_) => None,
            }));
        }
    }
    names.sort_unstable();
    names.dedup();
    let prefix = format!("{}/", principal.source());
    let bare = |it: &str| it.strip_prefix(&prefix).map(str::to_owned);
    let own: Vec<_> = principal.groups().iter().filter_map(|it| bare(it)).collect();
    let more = names.into_iter().filter_map(bare).filter(|it| !it.is_empty() && !own.contains(it));
    more.map(|it| Setting::Texts([own.as_slice(), &[it]].concat())).collect()
}

/// The decider that decides whatever changes, if there is one.
fn never(set: &Set, case: &Point, groups: &[Setting]) -> Option<String> {
    let mut last = None;
    let worlds = groups.iter().map(|it| case.having(&Key::Groups, it));
    for world in [case.clone()].into_iter().chain(worlds) {
        let keys = alphabet::keys(&set.statements_about(&world.query).collect::<Vec<_>>());
        match Judgement::of(set, &world, &keys) {
            Judgement::Denied(name) => last = last.or(Some(name)),
            Judgement::Open => return None,
        }
    }
    last
}

/// What is certain while some keys are free to change.
enum Judgement {
    /// It is denied, whatever these keys hold.
    Denied(String),
    Open,
}

impl Judgement {
    fn of(set: &Set, world: &Point, free: &[Key]) -> Self {
        let open = |key: &Key| free.contains(key);
        let facts = world.facts();
        let attached = set.attached(&world.query);
        let any = |them: &[&Policy]| {
            let allows = them.iter().flat_map(|it| &it.allows);
            Truth::any(allows.map(|it| judge(it, facts, &open)))
        };
        let denies = set.guardrails.denies.iter().chain(attached.iter().flat_map(|it| &it.denies));
        for statement in denies {
            if judge(statement, facts, &open) == Truth::True {
                return Self::Denied(statement.name.to_string());
            }
        }
        if set.has_ceiling && any(&[&set.guardrails]) == Truth::False {
            return Self::Denied(decision::CEILING.to_owned());
        }
        match any(&attached) {
            Truth::False => Self::Denied(decision::NONE.to_owned()),
            Truth::Unknown | Truth::True => Self::Open,
        }
    }
}

/// Whether a statement matches, as far as it is certain while some keys are open.
fn judge(statement: &Statement, facts: Facts<'_>, open: &impl Fn(&Key) -> bool) -> Truth {
    if !statement.is_about(facts.query.action) {
        return Truth::False;
    }
    let mut res = Truth::True;
    if let Some(resource) = &statement.resource {
        let depends = resource.keys().any(open);
        res =
            res.min(if depends { Truth::Unknown } else { resource.holds(statement.effect, facts) });
    }
    for condition in &statement.conditions {
        // A condition on a key that only Huawei Cloud knows always holds in a Deny.
        let depends = !matches!(condition.test, Test::Unknowable) && condition.keys().any(open);
        res = res.min(if depends {
            Truth::Unknown
        } else {
            condition.holds(statement.effect, facts)
        });
        if res == Truth::False {
            break;
        }
    }
    res
}

/// The changes that are tried together.
struct Round<'a> {
    /// The groups that the caller could be in as well.
    groups: &'a [Setting],
    /// Ways without another group are tried too.
    others: bool,
    /// The time may change.
    time: bool,
}

struct Search<'a> {
    set: &'a Set,
    left: usize,
}

/// The keys that change, and the world after the change.
type Solution = (Vec<Key>, Point);

impl Search<'_> {
    /// A way of exactly this many changes, the time among them or not.
    fn size(&mut self, case: &Point, round: &Round<'_>, size: usize) -> Option<Solution> {
        let time = round.time;
        if round.others
            && let Some(found) = self.others(case, size, time, &[])
        {
            return Some(found);
        }
        for group in round.groups {
            let world = case.having(&Key::Groups, group);
            if let Some(found) = self.others(&world, size - 1, time, &[Key::Groups]) {
                return Some(found);
            }
        }
        None
    }

    /// A way of this many changes of keys other than groups.
    fn others(
        &mut self,
        world: &Point,
        size: usize,
        time: bool,
        before: &[Key],
    ) -> Option<Solution> {
        let statements: Vec<_> = self.set.statements_about(&world.query).collect();
        let keys = alphabet::keys(&statements);
        // If it is denied even when all keys may change, no set of them can help.
        if let Judgement::Denied(_) = Judgement::of(self.set, world, &keys) {
            return None;
        }
        let keys: Vec<_> = keys.into_iter().filter(|it| time || *it != Key::CurrentTime).collect();
        let settings: Vec<_> = keys
            .into_iter()
            .map(|key| {
                let settings = alphabet::settings(&key, &statements, world);
                let settings = classes(&key, settings, &statements, world);
                (key, settings)
            })
            .collect();
        let mut chosen = before.to_vec();
        let found = self.choose(world, &settings, size, &mut Vec::new())?;
        let (keys, world) = found;
        chosen.extend(keys);
        Some((chosen, world))
    }

    /// Chooses `size` of `options`, in their order, besides those `chosen`.
    fn choose<'o>(
        &mut self,
        world: &Point,
        options: &'o [(Key, Vec<Setting>)],
        size: usize,
        chosen: &mut Vec<&'o (Key, Vec<Setting>)>,
    ) -> Option<Solution> {
        if size == 0 {
            return self.fill(world, chosen);
        }
        for (at, option) in options.iter().enumerate() {
            chosen.push(option);
            let rest = options.get(at + 1..).unwrap_or_default();
            let found = self.choose(world, rest, size - 1, chosen);
            chosen.pop();
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// Tries every setting of the keys left.
    fn fill(&mut self, world: &Point, left: &[&(Key, Vec<Setting>)]) -> Option<Solution> {
        self.left = self.left.checked_sub(1)?;
        let Some(((key, settings), rest)) = left.split_first().map(|(it, rest)| (*it, rest)) else {
            let decision = self.set.evaluate(&world.query, &world.attributes);
            return (decision.answer() == Answer::Allow).then(|| (Vec::new(), world.clone()));
        };
        let free: Vec<_> = left.iter().map(|(key, _)| key.clone()).collect();
        if let Judgement::Denied(_) = Judgement::of(self.set, world, &free) {
            return None;
        }
        for setting in settings {
            if let Some((keys, world)) = self.fill(&world.having(key, setting), rest) {
                return Some(([vec![key.clone()], keys].concat(), world));
            }
        }
        None
    }
}

/// One setting of each class: those that all statements judge alike, whatever else changes.
fn classes(
    key: &Key,
    settings: Vec<Setting>,
    statements: &[&Statement],
    world: &Point,
) -> Vec<Setting> {
    let depends = |it: &Key| it == key;
    let mut conditions = Vec::new();
    for statement in statements {
        if statement.resource.iter().flat_map(Resource::keys).any(depends) {
            return settings;
        }
        for condition in &statement.conditions {
            match (condition.keys().any(depends), condition.keys().all(depends)) {
                (false, _) => (),
                (true, true) => conditions.push((condition, statement.effect)),
                (true, false) => return settings,
            }
        }
    }
    let mut seen = Vec::new();
    let new = |setting: &Setting| {
        let world = world.having(key, setting);
        let holds = conditions.iter().map(|(it, effect)| it.holds(*effect, world.facts()));
        let signature: Vec<_> = holds.collect();
        let new = !seen.contains(&signature);
        seen.push(signature);
        new
    };
    settings.into_iter().filter(new).collect()
}
