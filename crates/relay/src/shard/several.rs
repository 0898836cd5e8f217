//! Several commands of one request: judged together, stored together, answered together.

use super::commands::Author;
use super::{Asker, Shard};
use std::cell::RefCell;
use std::rc::Rc;
use tautline_machine::relay::Answer;
use tautline_protocol::request::Command;
use tokio::sync::oneshot;

/// Answers that are waited for together, in the order of their commands.
pub(super) struct Several {
    answers: RefCell<Vec<Option<Answer>>>,
    done: RefCell<Option<oneshot::Sender<Vec<Answer>>>>,
}

impl Several {
    fn of(count: usize, done: oneshot::Sender<Vec<Answer>>) -> Self {
        Self {
            answers: RefCell::new((0..count).map(|_| None).collect()),
            done: RefCell::new(Some(done)),
        }
    }

    /// One has come; with the last they all go.
    pub(super) fn settle(&self, n: usize, answer: Answer) {
        let mut answers = self.answers.borrow_mut();
        if let Some(place) = answers.get_mut(n) {
            *place = Some(answer);
        }
        self.finish(&mut answers);
    }

    fn finish(&self, answers: &mut Vec<Option<Answer>>) {
        if answers.iter().all(Option::is_some)
            && let Some(done) = self.done.take()
        {
            // Whoever asked may have hung up; what was stored holds all the same.
            let _ = done.send(std::mem::take(answers).into_iter().flatten().collect());
        }
    }
}

impl Shard {
    /// Commands by HTTP, in order. A refusal may itself wait for what it was judged on, so each is judged by itself,
    /// whatever became of those before.
    pub(crate) fn submit_all(
        &mut self,
        restaurant: &str,
        author: Author,
        commands: Vec<Command>,
        done: oneshot::Sender<Vec<Answer>>,
    ) {
        self.with_restaurant(restaurant, move |shard, loaded| {
            let restaurant = match loaded {
                Ok(restaurant) => restaurant,
                Err(why) => return drop(done.send(vec![Answer::Nack(why.nack())])),
            };
            let several = Rc::new(Several::of(commands.len(), done));
            for (n, command) in commands.iter().enumerate() {
                let asker = || Asker::Several(Rc::clone(&several), n);
                if let Some(answer) = shard.judge(&restaurant, command, &author, asker) {
                    several.settle(n, answer);
                }
            }
        });
    }
}
