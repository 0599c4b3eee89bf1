//! Who could delete a job, or see it: for everybody whom a policy is attached to, with the job
//! fixed and everything else free.

use super::asked::Survey;
use super::encode::Model;
use super::point::{Point, Setting, Variable};
use super::search::{Effort, Exhausted, Literal};
use super::{Answers, Verdict};
use crate::policy::engine::decision;
use crate::policy::language::attachments::Target;
use crate::policy::language::key::Key;
use crate::policy::{Answer, Attributes, Query, Set};

/// A target that policies are attached to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receiver {
    /// As in attachments.yaml: `group:corp/ml-research`.
    pub target: String,
    /// Whether the job could be deleted.
    pub could: Could,
}

/// Whether somebody could delete a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Could {
    /// Yes, at the time and with the sign-in of the question, and nothing more stated than the target.
    Yes {
        /// The statement that allows it.
        by: String,
    },
    /// Only if these keys hold these values.
    If {
        /// Key and value, all of them needed.
        keys: Vec<(String, String)>,
        /// The statement that allows it then.
        by: String,
    },
    /// Never.
    No {
        /// What stands in the way: `none` if nothing allows it, `ceiling` if it is outside the
        /// guardrails, or else a Deny.
        by: String,
    },
    /// Not known: a limit was reached, or it depends on what cannot be compared.
    Undecided,
}

/// The key that names a circumstance: who asks, and how. These variables are free.
fn key(variable: &Variable) -> Option<Key> {
    Some(match variable {
        Variable::Agent => Key::UserAgent,
        Variable::Caller => Key::UserId,
        Variable::Groups => Key::Groups,
        Variable::Method => Key::AuthMethod,
        Variable::Now => Key::CurrentTime,
        Variable::PrincipalTag(tag) => Key::PrincipalTag(tag.clone()),
        Variable::Secure => Key::SecureTransport,
        Variable::SourceIp => Key::SourceIp,
        Variable::Account
        | Variable::Fact(_)
        | Variable::Job
        | Variable::Project
        | Variable::Region
        | Variable::ResourceTag(_) => return None,
    })
}

fn is_circumstance(variable: &Variable) -> bool {
    key(variable).is_some()
}

impl Set {
    /// For everybody whom a policy is attached to, whether what `query` asks for could be allowed:
    /// the job, its upstream and `attributes` are fixed, the time and the caller are free.
    #[must_use]
    pub fn who_can(
        &self,
        query: &Query,
        attributes: &Attributes,
        mut effort: Effort<'_>,
    ) -> Vec<Receiver> {
        let mut targets: Vec<_> = self.attachments.grants().iter().map(|it| it.to).collect();
        targets.dedup();
        let job = Point { query: query.clone(), attributes: attributes.clone() };
        let mut asked = WhoCan::new(self, &job, &mut effort);
        let receiver = |target: Target<'_>| {
            let asked = asked.as_mut().map_err(|it| *it);
            let could = asked.and_then(|it| it.could(target, &mut effort));
            Receiver { target: name(target), could: could.unwrap_or(Could::Undecided) }
        };
        targets.into_iter().map(receiver).collect()
    }
}

fn name(target: Target<'_>) -> String {
    match target {
        Target::Any => "any".to_owned(),
        Target::Group(it) => format!("group:{it}"),
        Target::Source(it) => format!("source:{it}"),
        Target::User(it) => format!("user:{it}"),
    }
}

impl Model {
    /// True if the caller is one of those that a target names.
    pub(super) fn whom(&mut self, target: Target<'_>) -> Literal {
        match target {
            Target::Any => self.circuit.constant(true),
            Target::Group(_) => self.chosen(&Variable::Groups, |it| is(it, target)),
            Target::Source(_) | Target::User(_) => {
                self.chosen(&Variable::Caller, |it| is(it, target))
            }
        }
    }

    /// Fixes the variable to this value, which has a class of its own.
    fn fixed(&mut self, variable: &Variable, setting: &Setting) -> Vec<Literal> {
        let Some(bound) = self.bounds.get(variable) else {
            return Vec::new();
        };
        let circuit = &mut self.circuit;
        let mut is =
            |setting: &Setting| bound.any(circuit, |it| it.setting == *setting && it.is_sure());
        match setting {
            Setting::Texts(them) => {
                let them: Vec<_> = them.iter().map(|it| Setting::Text(it.clone())).collect();
                let mut res: Vec<_> = them.iter().map(&mut is).collect();
                res.push(!bound.any(circuit, |it| !them.contains(&it.setting)));
                res
            }
            Setting::Absent => vec![bound.absent],
            Setting::Unavailable => vec![bound.unavailable],
            one => vec![is(one)],
        }
    }

    /// True if the caller is in no group but that of the target.
    fn no_other_group(&mut self, target: Target<'_>) -> Literal {
        let is_group = matches!(target, Target::Group(_));
        !self.chosen(&Variable::Groups, |world| !(is_group && is(world, target)))
    }

    /// True if the variable holds a text of the same class; `None` if no policy asks about it.
    fn class_of(&mut self, variable: &Variable, text: &str) -> Option<Literal> {
        let bound = self.bounds.get(variable)?;
        Some(bound.tree.any(&mut self.circuit, |at| bound.domain.is_of(bound.split(at).0, text)))
    }
}

impl Answers {
    /// What forbids a request that is never allowed.
    pub(super) fn obstacle(
        &self,
        model: &mut Model,
        given: &[Literal],
        effort: &mut Effort<'_>,
    ) -> Result<String, Exhausted> {
        let search = &mut model.circuit.search;
        if !search.solve(&[given, &[self.allows]].concat(), effort)? {
            return Ok(decision::NONE.to_owned());
        }
        if !search.solve(&[given, &[self.allows, self.ceiling]].concat(), effort)? {
            return Ok(decision::CEILING.to_owned());
        }
        let mut denies = self.side.denies.iter();
        let deny = denies.find(|it| search.holds(it.truth.may_hold));
        Ok(deny.map(|it| it.name.to_string()).unwrap_or_default())
    }
}

struct WhoCan<'a> {
    set: &'a Set,
    job: &'a Point,
    model: Model,
    answers: Answers,
    /// The job is as it is.
    given: Vec<Literal>,
}

impl<'a> WhoCan<'a> {
    fn new(set: &'a Set, job: &'a Point, effort: &mut Effort<'_>) -> Result<Self, Exhausted> {
        effort.begin()?;
        let mut survey = Survey::default();
        survey.add(set);
        survey.fix(|it| (!is_circumstance(it)).then(|| job.setting(it)));
        let mut model = Model::of(job.query.action, set.statements(), survey, effort)?;
        let side = model.side(set, effort)?;
        let answers = Answers::new(&mut model, side);
        let fixed: Vec<_> =
            model.bounds.keys().filter(|it| !is_circumstance(it)).cloned().collect();
        let given = fixed.iter().flat_map(|it| model.fixed(it, &job.setting(it))).collect();
        Ok(Self { set, job, model, answers, given })
    }

    fn could(&mut self, target: Target<'_>, effort: &mut Effort<'_>) -> Result<Could, Exhausted> {
        let usual = self.usual(target);
        let verdict = self.judge(&usual);
        if let (Answer::Allow, Some(by)) = (verdict.answer, &verdict.decider) {
            return Ok(Could::Yes { by: by.clone() });
        }
        let whom = self.model.whom(target);
        let who = [self.given.as_slice(), &[whom]].concat();
        let question = [who.as_slice(), &[self.answers.allow]].concat();
        let sure = !self.model.unsure;
        let certain = [question.as_slice(), &[sure]].concat();
        // Try other groups and another name only if nothing else will do.
        let groups = self.model.no_other_group(target);
        let name = self.model.class_of(&Variable::Caller, usual.query.principal.id());
        let name: Vec<_> = name.into_iter().collect();
        let mut found = false;
        for same in [[name.as_slice(), &[groups]].concat(), name, Vec::new()] {
            let question = [certain.as_slice(), &same].concat();
            found = found || self.model.circuit.search.solve(&question, effort)?;
        }
        if !found {
            let open = self.model.circuit.search.solve(&question, effort)?;
            return match open {
                true => Ok(Could::Undecided),
                false => {
                    Ok(Could::No { by: self.answers.obstacle(&mut self.model, &who, effort)? })
                }
            };
        }
        let fits = |it: &Point| {
            let same = self.model.bounds.keys().filter(|it| !is_circumstance(it));
            self.judge(it).answer == Answer::Allow
                && is(it, target)
                && same
                    .into_iter()
                    .all(|variable| it.setting(variable) == self.job.setting(variable))
        };
        let Some(mut point) = self.model.realise(&fits).point else {
            return Ok(Could::Undecided);
        };
        let circumstances: Vec<_> =
            self.model.bounds.keys().filter(|it| is_circumstance(it)).cloned().collect();
        for variable in &circumstances {
            let plainer = point.with(variable, &usual);
            if fits(&plainer) {
                point = plainer;
            }
        }
        let keys = circumstances.iter().filter(|it| point.setting(it) != usual.setting(it));
        let keys = keys.filter_map(|it| Some((key(it)?.to_string(), value(&point, it)))).collect();
        let by = self.judge(&point).decider.unwrap_or_default();
        Ok(Could::If { keys, by })
    }

    fn judge(&self, point: &Point) -> Verdict {
        // Facts of the job that no policy asks for make no difference.
        let query = Query {
            job: self.job.query.job.clone(),
            region: self.job.query.region.clone(),
            account: self.job.query.account.clone(),
            ..point.query.clone()
        };
        Verdict::new(&self.set.evaluate(&query, &self.job.attributes))
    }

    /// The target as a caller, with nothing more stated than needed.
    fn usual(&self, target: Target<'_>) -> Point {
        let mut res = self.job.clone();
        res.set(&Variable::Caller, &Setting::Text("anybody/x".to_owned()));
        for variable in self.model.bounds.keys().filter(|it| is_circumstance(it)) {
            if variable.may_be_absent() {
                res.set(variable, &Setting::Absent);
            }
        }
        match target {
            Target::Any => (),
            Target::Group(it) => {
                let (source, group) = it.split_once('/').unwrap_or((it, ""));
                res.set(&Variable::Caller, &Setting::Text(format!("{source}/x")));
                res.set(&Variable::Groups, &Setting::Texts(vec![group.to_owned()]));
            }
            Target::Source(it) => res.set(&Variable::Caller, &Setting::Text(format!("{it}/x"))),
            Target::User(it) => res.set(&Variable::Caller, &Setting::Text(it.to_owned())),
        }
        res
    }
}

fn is(point: &Point, target: Target<'_>) -> bool {
    let principal = &point.query.principal;
    match target {
        Target::Any => true,
        Target::Group(it) => principal.groups().iter().any(|group| group == it),
        Target::Source(it) => principal.source() == it,
        Target::User(it) => principal.id() == it,
    }
}

fn value(point: &Point, variable: &Variable) -> String {
    match point.setting(variable) {
        Setting::Absent => "absent".to_owned(),
        Setting::Address(it) => it.to_string(),
        Setting::Boolean(it) => it.to_string(),
        Setting::Date(it) => it.to_string(),
        Setting::Method(it) => it.as_str().to_owned(),
        Setting::Number(it) => it.to_string(),
        Setting::Text(it) => it,
        Setting::Texts(_) => point.query.principal.groups().join(", "),
        Setting::Unavailable => "unavailable".to_owned(),
    }
}
