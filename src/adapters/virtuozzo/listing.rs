//! The `Platform` port over the wire client.

use async_trait::async_trait;
use vz_sync_actors::domain::item::Element;
use vz_sync_actors::domain::{
    Baseline, Completeness, Counts, Failure, FailureClass, PartialReason,
};
use vz_sync_actors::ports::credentials::Access;
use vz_sync_actors::ports::platform::{
    Account, ActionPage, ActionQuery, ActionTarget, ElementSink, Listing, Lookup, Outlines,
    Platform, PlatformResult,
};

use super::client::{
    Answer, BodyEnd, GET_BASIC_ENVS_INFO, GET_ENV_INFO, GET_ENVS, GET_USER_INFO, Method,
};
use super::element::{self, Reader};
use super::errors::{self, Envelope};
use super::json::Json;
use super::rules::Rules;
use super::stream::{Infos, Scanner, Step};
use super::{VirtuozzoPlatform, actions};

#[async_trait]
impl Platform for VirtuozzoPlatform {
    async fn account(&self, access: &Access) -> PlatformResult<Account> {
        let method = GET_USER_INFO;
        let answer = self.client.send(access, method, &[]).await?;
        let body = answer.whole(self.client.options.max_element).await?;
        let envelope = Envelope::read(&body).ok_or_else(|| errors::not_json(&body, method.name))?;
        envelope.verdict(method.name, &self.client.options.codes)?;
        let tree = Json::parse(&body).ok();
        let uid = tree.as_ref().and_then(|tree| tree.get("uid")?.integer());
        let uid = uid.ok_or_else(|| {
            errors::invalid("uid_missing", method.name, "answered without a readable uid")
        })?;
        let status = tree.as_ref().and_then(|tree| tree.get("status")?.text());
        let enabled = status.is_none_or(|status| status.eq_ignore_ascii_case("ENABLED"));
        Ok(Account { uid, enabled })
    }

    async fn environments(
        &self,
        access: &Access,
        baseline: &Baseline,
        sink: &mut dyn ElementSink,
    ) -> PlatformResult<Listing> {
        let mut listed = self.listing(access, GET_BASIC_ENVS_INFO, baseline, sink).await;
        if is_refused(&listed) {
            // It lists the same and more. A token that may not call it either is of no use.
            listed = self.listing(access, GET_ENVS, baseline, sink).await;
            if is_refused(&listed) {
                let text = "the token may call none of the methods that list environments";
                return Err(Failure::new(FailureClass::Auth, "listing_refused", text));
            }
        }
        self.confirmed(access, listed).await
    }

    async fn outlines(&self, access: &Access) -> PlatformResult<Outlines> {
        let method = GET_ENVS;
        let uid = access.owner_uid.map(|uid| uid.to_string());
        let mut form = self.owner_form(uid.as_deref());
        form.push(("lazy", "true"));
        let read = async {
            let answer = self.client.send(access, method, &form).await?;
            let mut take = LazyElements {
                owner: access.owner_uid,
                rules: Rules::default(),
                outlines: Vec::new(),
                shared: 0,
            };
            let sent_at = answer.sent_at;
            let completeness = self.stream(answer, method, &mut take).await?;
            let LazyElements { outlines, shared, .. } = take;
            Ok(Outlines { completeness, sent_at, outlines, shared })
        };
        self.confirmed(access, read.await).await
    }

    async fn environment(&self, access: &Access, env_name: &str) -> PlatformResult<Lookup> {
        let method = GET_ENV_INFO;
        let read = async {
            let answer = self.client.send(access, method, &[("envName", env_name)]).await?;
            let sent_at = answer.sent_at;
            let body = answer.whole(self.client.options.max_element).await?;
            let envelope =
                Envelope::read(&body).ok_or_else(|| errors::not_json(&body, method.name))?;
            if envelope.code() == Some(errors::NOT_FOUND) {
                return Ok(Lookup::Gone);
            }
            envelope.verdict(method.name, &self.client.options.codes)?;
            let baseline = Baseline::default();
            let hasher = self.hasher.tagged(method.name);
            let element = Reader::new(hasher, access.owner_uid, &baseline).read(&body).element;
            if matches!(&element, Element::Malformed(malformed) if malformed.id.is_none()) {
                let what = "answered without an environment that can be identified";
                return Err(errors::invalid("env_missing", method.name, what));
            }
            Ok(Lookup::Found { element, sent_at })
        };
        self.confirmed(access, read.await).await
    }

    async fn actions(&self, access: &Access, query: &ActionQuery) -> PlatformResult<ActionPage> {
        self.confirmed(access, actions::search(&self.client, access, query).await).await
    }

    async fn current_actions(&self, access: &Access) -> PlatformResult<Vec<ActionTarget>> {
        self.confirmed(access, actions::current(&self.client, access).await).await
    }
}

/// What becomes of a listing's elements.
#[async_trait]
trait Take: Send {
    /// One element; the answer is the doubt it casts on the listing.
    fn element(&mut self, bytes: &[u8]) -> Option<PartialReason>;

    /// Elements that were taken but not handed on.
    fn waiting(&self) -> usize;

    /// Hands them on.
    async fn flush(&mut self) -> PlatformResult<()>;
}

struct Elements<'s> {
    reader: Reader,
    counts: Counts,
    batch: Vec<Element>,
    sink: &'s mut dyn ElementSink,
}

#[async_trait]
impl Take for Elements<'_> {
    fn element(&mut self, bytes: &[u8]) -> Option<PartialReason> {
        let seen = self.reader.read(bytes);
        self.counts.listed += 1;
        match &seen.element {
            Element::Shared { .. } => self.counts.shared += 1,
            Element::Malformed(_) => self.counts.quarantined += 1,
            Element::Environment(element) => {
                self.counts.quarantined += element.malformed_nodes.len() as u64;
            }
            Element::Same(_) => {}
        }
        self.batch.push(seen.element);
        seen.doubt
    }

    fn waiting(&self) -> usize {
        self.batch.len()
    }

    async fn flush(&mut self) -> PlatformResult<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let batch = Vec::with_capacity(self.batch.len());
        self.sink.accept(std::mem::replace(&mut self.batch, batch)).await
    }
}

struct LazyElements {
    owner: Option<i64>,
    rules: Rules,
    outlines: Vec<vz_sync_actors::ports::platform::Outline>,
    shared: u64,
}

#[async_trait]
impl Take for LazyElements {
    fn element(&mut self, bytes: &[u8]) -> Option<PartialReason> {
        match element::outline(bytes, self.owner, &mut self.rules) {
            Ok((Some(outline), doubt)) => {
                self.outlines.push(outline);
                doubt
            }
            Ok((None, doubt)) => {
                self.shared += 1;
                doubt
            }
            Err(doubt) => Some(doubt),
        }
    }

    fn waiting(&self) -> usize {
        0
    }

    async fn flush(&mut self) -> PlatformResult<()> {
        Ok(())
    }
}

/// Whether the token may not call the method.
fn is_refused<T>(result: &PlatformResult<T>) -> bool {
    result.as_ref().err().is_some_and(|failure| failure.class == FailureClass::Capability)
}

impl VirtuozzoPlatform {
    /// Every environment with its nodes, by one of the methods that list them.
    async fn listing(
        &self,
        access: &Access,
        method: Method,
        baseline: &Baseline,
        sink: &mut dyn ElementSink,
    ) -> PlatformResult<Listing> {
        let uid = access.owner_uid.map(|uid| uid.to_string());
        let answer = self.client.send(access, method, &self.owner_form(uid.as_deref())).await?;
        let hasher = self.hasher.tagged(method.name);
        let reader = Reader::new(hasher, access.owner_uid, baseline);
        let mut take = Elements { reader, counts: Counts::default(), batch: Vec::new(), sink };
        let sent_at = answer.sent_at;
        let completeness = self.stream(answer, method, &mut take).await?;
        let body = completeness.is_complete().then(|| take.reader.body());
        Ok(Listing { completeness, sent_at, counts: take.counts, body })
    }

    fn owner_form<'f>(&self, uid: Option<&'f str>) -> Vec<(&'static str, &'f str)> {
        let uid = uid.filter(|_| self.client.options.send_owner_uid);
        uid.map(|uid| ("ownerUid", uid)).into_iter().collect()
    }

    /// Reads a listing as it arrives. An error means that no usable answer came.
    async fn stream(
        &self,
        mut answer: Answer,
        method: Method,
        take: &mut dyn Take,
    ) -> PlatformResult<Completeness> {
        let mut scanner = Scanner::new(self.client.options.max_element);
        let mut completeness = Completeness::Complete;
        let mut elements = 0_u64;
        let mut doubt = |reason: PartialReason| {
            completeness = std::mem::replace(&mut completeness, Completeness::Complete)
                .and(Completeness::Partial(reason));
        };
        // What ended the body early, if anything did.
        let mut ended: Option<(PartialReason, Failure)> = None;
        'body: loop {
            let chunk = match answer.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                Err(BodyEnd::Broken(failure)) => {
                    ended = Some((PartialReason::Truncated, failure));
                    break;
                }
                Err(BodyEnd::TooLong) => {
                    let what = "was answered with a longer body than is taken";
                    let failure = errors::invalid("too_long", method.name, what);
                    ended = Some((PartialReason::LimitReached, failure));
                    break;
                }
            };
            let mut at = 0;
            loop {
                match scanner.next(&chunk, &mut at) {
                    Step::Element(bytes) => {
                        elements += 1;
                        if let Some(reason) = take.element(bytes) {
                            doubt(reason);
                        }
                        if take.waiting() >= self.client.options.batch {
                            take.flush().await?;
                        }
                    }
                    Step::Oversize => {
                        elements += 1;
                        doubt(PartialReason::LimitReached);
                    }
                    Step::NeedMore => break,
                    Step::Broken => {
                        let failure = errors::broken(scanner.markup(), method.name);
                        ended = Some((PartialReason::Truncated, failure));
                        break 'body;
                    }
                }
            }
        }
        take.flush().await?;
        if ended.is_none() && !scanner.closed() {
            let what = "was answered with a body that ends too soon";
            let failure = errors::retryable("truncated", method.name, what);
            ended = Some((PartialReason::Truncated, failure));
        }
        let envelope = Envelope::of(&scanner);
        // A result that was read counts, even in a body that broke off behind it.
        if ended.is_none() || envelope.code().is_some_and(|code| code != 0) {
            envelope.verdict(method.name, &self.client.options.codes)?;
        }
        match ended {
            None if scanner.infos() != Infos::List => {
                let what = "answered success without a list of environments";
                return Err(errors::invalid("infos_missing", method.name, what));
            }
            Some((_, failure)) if elements == 0 => return Err(failure),
            Some((reason, _)) => doubt(reason),
            None => {}
        }
        Ok(completeness)
    }

    /// A refusal of the key counts only if the key is refused to say whose it is, too: some
    /// platforms answer one method with a code that elsewhere means a dead session.
    async fn confirmed<T>(&self, access: &Access, result: PlatformResult<T>) -> PlatformResult<T> {
        match result {
            Err(failure) if failure.class == FailureClass::Auth => {
                let refused = |failure: &Failure| failure.class == FailureClass::Auth;
                if self.account(access).await.as_ref().err().is_some_and(refused) {
                    return Err(failure);
                }
                Err(Failure { class: FailureClass::Retryable, ..failure })
            }
            result => result,
        }
    }
}
