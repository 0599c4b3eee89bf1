//! The classes of every variable: what the policies ask cuts the values of each into finitely many,
//! and every value belongs to one.

use super::asked::{Questions, Survey};
use super::automaton::{Automaton, Lane, Part, Places, Universe};
use super::point::{Setting, Variable};
use super::search::{Effort, Exhausted};
use super::typed::{self, Cuts, Reading};
use crate::policy::{JobFact, Method};

use std::collections::{BTreeMap, HashMap, HashSet};

/// The longest project ID and job ID, which are those of the route.
const ID_MAX: usize = 64;

/// How many texts of numbers are examined of each class of texts.
const SAMPLES: usize = 48;

/// What stands before the account, and before the caller, in `g:PrincipalUrn`.
pub(super) const URN_START: &str = "sts::";
const URN_MIDDLE: &str = ":external-user:";

/// A class of values that all policies judge alike, shown by one of them.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    /// The value for comparisons as text, and for everything that is not text.
    pub(super) setting: Setting,
    /// The value for operators that read texts as something else.
    pub(super) read: Setting,
    /// There is only one such value.
    pub(super) is_literal: bool,
    /// The class of the automaton.
    pub(super) class: Option<usize>,
    /// For a caller, which of the beginnings its groups have; for a group, which one it has.
    pub(super) opening: usize,
}

/// The classes of one variable.
#[derive(Debug)]
pub(super) struct Domain {
    /// For a variable of one value, absent and unavailable are among them.
    pub(super) leaves: Vec<Leaf>,
    /// The automata that read the variable, if it is text; for groups, one for each opening.
    pub(super) automata: Vec<Automaton>,
    cuts: Cuts,
    by_class: HashMap<(usize, usize, Reading), usize>,
}

/// The classes of all variables that the policies ask for, while they are made.
#[derive(Default)]
struct Space {
    domains: BTreeMap<Variable, Domain>,
    /// The beginnings of groups: how far the questions about groups have come after the caller's
    /// source.
    openings: Vec<Places>,
}

impl Leaf {
    /// The value exists. Otherwise it is not known whether one text can be both.
    pub(super) fn is_sure(&self) -> bool {
        self.setting == self.read
    }
}

impl Domain {
    /// Whether no policy can tell the text from the one that the leaf shows.
    pub(super) fn is_of(&self, leaf: usize, text: &str) -> bool {
        let opening = self.leaves.get(leaf).map_or(0, |it| self.number(it));
        let class = self.automata.get(opening).and_then(|it| it.class(text));
        let found = class.map(|it| self.by_class.get(&(opening, it, self.cuts.read(text))));
        found == Some(Some(&leaf))
    }

    /// The automaton that reads the texts of a leaf.
    pub(super) fn automaton(&self, leaf: &Leaf) -> Option<&Automaton> {
        self.automata.get(self.number(leaf))
    }

    /// The number of the leaf's automaton. Callers have openings too, but only one automaton.
    fn number(&self, leaf: &Leaf) -> usize {
        leaf.opening.min(self.automata.len().saturating_sub(1))
    }

    fn plain(settings: impl IntoIterator<Item = Setting>) -> Self {
        let leaves = settings.into_iter().map(|setting| Leaf {
            read: setting.clone(),
            setting,
            is_literal: false,
            class: None,
            opening: 0,
        });
        Self {
            leaves: leaves.collect(),
            automata: Vec::new(),
            cuts: Cuts::default(),
            by_class: HashMap::new(),
        }
    }

    /// Adds the classes of texts that the automaton tells apart, and how they read.
    fn add_texts(&mut self, opening: usize, automaton: Automaton) {
        let classes = automaton.classes.iter().enumerate();
        let mut all: Vec<_> = classes.map(|(at, it)| (at, it.text.clone())).collect();
        let texts = self.cuts.texts();
        all.extend(texts.iter().filter_map(|it| Some((automaton.class(it)?, it.clone()))));
        if self.cuts.reads.numbers {
            let numbers = automaton.shaped(typed::number_step, SAMPLES);
            all.extend(
                numbers
                    .into_iter()
                    .flat_map(|(class, texts)| texts.into_iter().map(move |it| (class, it))),
            );
        }
        for (class, text) in all {
            let is_literal = automaton.classes.get(class).is_some_and(|it| it.is_literal);
            self.add_text((opening, class), is_literal, &text, &text);
        }
        if self.cuts.reads.anything() {
            self.add_unsure(opening, &automaton, &texts);
        }
        self.automata.push(automaton);
    }

    /// Adds values that may not exist: texts of a class with a reading for which no text of that
    /// class was found.
    fn add_unsure(&mut self, opening: usize, automaton: &Automaton, texts: &[String]) {
        let mut seen = HashSet::new();
        let classes = || automaton.classes.iter().enumerate().filter(|(_, it)| !it.is_literal);
        for read in texts {
            let reading = self.cuts.read(read);
            let Some(shape) = reading.shape().filter(|_| seen.insert(reading.clone())) else {
                continue;
            };
            let possible = automaton.shaped(shape, 1);
            for (class, it) in classes().filter(|(class, _)| possible.contains_key(class)) {
                self.add_text((opening, class), false, &it.text, read);
            }
        }
        // A class whose shown text reads as something may have texts that do not.
        for (class, it) in classes() {
            self.add_text((opening, class), false, &it.text, "");
        }
    }

    /// Adds texts of a class that read as `read` does, shown by `text`, unless they are there.
    fn add_text(
        &mut self,
        (opening, class): (usize, usize),
        is_literal: bool,
        text: &str,
        read: &str,
    ) {
        let next = self.leaves.len();
        let key = (opening, class, self.cuts.read(read));
        if *self.by_class.entry(key).or_insert(next) == next {
            self.leaves.push(Leaf {
                setting: Setting::Text(text.to_owned()),
                read: Setting::Text(read.to_owned()),
                is_literal,
                class: Some(class),
                opening,
            });
        }
    }
}

/// The classes of all variables that the policies ask for.
pub(super) fn domains(
    mut survey: Survey,
    effort: &mut Effort<'_>,
) -> Result<BTreeMap<Variable, Domain>, Exhausted> {
    let mut space = Space::default();
    let groups = survey.asked.remove(&Variable::Groups);
    let mut numbers = Vec::new();
    if let Some(groups) = &groups {
        let caller = survey.asked.entry(Variable::Caller).or_default();
        let lanes = groups.lanes.iter();
        let opening = lanes.map(|it| Lane { part: Part::Opening, ..it.clone() });
        numbers.extend(opening.map(|it| caller.lane(it)));
    }
    space.urns(&mut survey, effort)?;
    for (variable, asked) in &survey.asked {
        if !space.domains.contains_key(variable) {
            space.add(variable, asked, effort)?;
        }
    }
    if let Some(groups) = groups {
        space.groups(&groups, &numbers, effort)?;
    }
    Ok(space.domains)
}

impl Space {
    /// Questions about `g:PrincipalUrn` become questions about the account and, from where the
    /// account leaves them, about the caller.
    fn urns(&mut self, survey: &mut Survey, effort: &mut Effort<'_>) -> Result<(), Exhausted> {
        if survey.urns.is_empty() {
            return Ok(());
        }
        let account = survey.asked.entry(Variable::Account).or_default();
        for lane in &survey.urns {
            let starts = lane.glob.run(&lane.starts, URN_START);
            account.lane(Lane { starts, part: Part::Opening, ..lane.clone() });
        }
        let account = account.clone();
        self.add(&Variable::Account, &account, effort)?;
        let caller = survey.asked.entry(Variable::Caller).or_default();
        let accounts = self.domains.get(&Variable::Account).into_iter().flat_map(|it| &it.automata);
        for class in accounts.flat_map(|it| &it.classes) {
            for places in class.opening.chunk_by(|(a, _), (b, _)| a == b) {
                let number = places.first().map_or(0, |(lane, _)| *lane);
                let Some(lane) = account.lanes.get(number) else {
                    continue;
                };
                let starts: Vec<_> = places.iter().map(|(_, place)| *place).collect();
                let starts = lane.glob.run(&starts, URN_MIDDLE);
                caller.lane(Lane { glob: lane.glob.clone(), starts, part: Part::Whole });
            }
        }
        Ok(())
    }

    fn add(
        &mut self,
        variable: &Variable,
        asked: &Questions,
        effort: &mut Effort<'_>,
    ) -> Result<(), Exhausted> {
        let cuts = &asked.cuts;
        let mut settings = Vec::new();
        if variable.may_be_absent() && !variable.is_several() {
            settings.push(Setting::Absent);
        }
        if variable.may_be_unavailable() && !variable.is_several() {
            settings.push(Setting::Unavailable);
        }
        match variable {
            Variable::Fact(JobFact::Age) => {
                settings.extend(cuts.integers().into_iter().map(Setting::Number))
            }
            Variable::Method => settings.extend(
                [Method::Jwt, Method::Key, Method::Local, Method::Mtls].map(Setting::Method),
            ),
            Variable::Now => settings.extend(cuts.instants().into_iter().map(Setting::Date)),
            Variable::Secure => settings.extend([true, false].map(Setting::Boolean)),
            Variable::SourceIp => {
                settings.extend(cuts.addresses().into_iter().map(Setting::Address));
            }
            _ => {
                let mut domain = Domain { cuts: cuts.clone(), ..Domain::plain(settings) };
                let automaton = Automaton::new(&asked.lanes, universe(variable), effort)?;
                domain.add_texts(0, automaton);
                if *variable == Variable::Caller {
                    self.open(&mut domain);
                }
                self.domains.insert(variable.clone(), domain);
                return Ok(());
            }
        }
        self.domains.insert(variable.clone(), Domain::plain(settings));
        Ok(())
    }

    /// Numbers the beginnings of groups that callers have.
    fn open(&mut self, callers: &mut Domain) {
        for leaf in &mut callers.leaves {
            let class = leaf.class.and_then(|it| callers.automata.first()?.classes.get(it));
            let Some(opening) = class.map(|it| &it.opening) else {
                continue;
            };
            leaf.opening = match self.openings.iter().position(|it| it == opening) {
                Some(at) => at,
                None => {
                    self.openings.push(opening.clone());
                    self.openings.len() - 1
                }
            };
        }
    }

    /// A group is its caller's source, a slash and a name; `numbers` are the caller's lanes for each
    /// lane of the groups.
    fn groups(
        &mut self,
        asked: &Questions,
        numbers: &[usize],
        effort: &mut Effort<'_>,
    ) -> Result<(), Exhausted> {
        let mut domain = Domain::plain([]);
        for (opening, places) in self.openings.iter().enumerate() {
            let lanes = asked.lanes.iter().zip(numbers).map(|(lane, number)| {
                let starts = places.iter().filter(|(it, _)| it == number).map(|(_, it)| *it);
                Lane { starts: starts.collect(), ..lane.clone() }
            });
            let lanes: Vec<_> = lanes.collect();
            domain.add_texts(opening, Automaton::new(&lanes, NAME, effort)?);
        }
        self.domains.insert(Variable::Groups, domain);
        Ok(())
    }
}

/// The texts of names: never empty.
const NAME: Universe = Universe { may_be_empty: false, ..Universe::TEXT };

fn universe(variable: &Variable) -> Universe {
    let id = Universe { longest: ID_MAX, ..NAME };
    match variable {
        Variable::Agent => {
            Universe { allowed: |it| matches!(it, ' '..='~' | '\t'), ..Universe::TEXT }
        }
        Variable::Caller => Universe { is_qualified: true, ..NAME },
        Variable::Job => Universe {
            allowed: |it| matches!(it, 'a'..='z' | '0'..='9' | '-'),
            except: Some("batch-delete"),
            ..id
        },
        Variable::Project => {
            Universe { allowed: |it| it.is_ascii_alphanumeric() || it == '-', ..id }
        }
        Variable::PrincipalTag(_) | Variable::ResourceTag(_) => Universe::TEXT,
        _ => NAME,
    }
}
