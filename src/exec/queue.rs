use std::collections::VecDeque;

use crate::model::PluginName;

/// How a plugin's runs have ended so far, and so who goes before whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// The last run ended by itself.
    Prompt,
    /// No run has ended yet.
    Untried,
    /// The last run timed out.
    Suspect,
}

/// Plugins that are due and wait for a place.
#[derive(Debug, Default)]
pub(super) struct Queue {
    prompt: VecDeque<PluginName>,
    untried: VecDeque<PluginName>,
    suspects: VecDeque<PluginName>,
}

impl Queue {
    /// Behind all of its class.
    pub(super) fn push_back(&mut self, class: Class, name: PluginName) {
        self.of(class).push_back(name);
    }

    /// Before all of its class.
    pub(super) fn push_front(&mut self, class: Class, name: PluginName) {
        self.of(class).push_front(name);
    }

    /// The first of a class.
    pub(super) fn pop(&mut self, class: Class) -> Option<PluginName> {
        self.of(class).pop_front()
    }

    /// Takes out a plugin that is no more.
    pub(super) fn remove(&mut self, name: &PluginName) {
        for queue in [&mut self.prompt, &mut self.untried, &mut self.suspects] {
            queue.retain(|n| n != name);
        }
    }

    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.prompt.is_empty() && self.untried.is_empty() && self.suspects.is_empty()
    }

    fn of(&mut self, class: Class) -> &mut VecDeque<PluginName> {
        match class {
            Class::Prompt => &mut self.prompt,
            Class::Untried => &mut self.untried,
            Class::Suspect => &mut self.suspects,
        }
    }
}
