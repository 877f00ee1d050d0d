//! `arrwdb.v1.ConsumerService`.

use tonic::{Request, Response, Status};

use super::convert::consumer::{consumer_to_pb, new_consumer, pull_request, pulled_to_pb};
use super::convert::{page, request_id};
use super::pb::consumer_service_server::ConsumerService;
use super::{Grpc, pb, reply};
use crate::types::ConsumerName;

#[tonic::async_trait]
impl ConsumerService for Grpc {
    async fn create_consumer(
        &self,
        request: Request<pb::CreateConsumerRequest>,
    ) -> Result<Response<pb::CreateConsumerResponse>, Status> {
        let request = request.into_inner();
        let request_id = request_id(&request.request_id)?;
        let view = self.engine.create_consumer(new_consumer(request)?, request_id).await?;
        reply(pb::CreateConsumerResponse { consumer: Some(consumer_to_pb(&view)) })
    }

    async fn get_consumer(
        &self,
        request: Request<pb::GetConsumerRequest>,
    ) -> Result<Response<pb::GetConsumerResponse>, Status> {
        let name = ConsumerName::parse(&request.into_inner().name)?;
        let view = self.engine.get_consumer(&name).await?;
        reply(pb::GetConsumerResponse { consumer: Some(consumer_to_pb(&view)) })
    }

    async fn list_consumers(
        &self,
        request: Request<pb::ListConsumersRequest>,
    ) -> Result<Response<pb::ListConsumersResponse>, Status> {
        let request = request.into_inner();
        let page = page(self.engine.limits(), request.page_size, request.page_token);
        let page = self.engine.list_consumers(page).await?;
        reply(pb::ListConsumersResponse {
            consumers: page.items.iter().map(consumer_to_pb).collect(),
            next_page_token: page.next_token.unwrap_or_default(),
        })
    }

    async fn pull_events(
        &self,
        request: Request<pb::PullEventsRequest>,
    ) -> Result<Response<pb::PullEventsResponse>, Status> {
        let (name, pull) = pull_request(request.into_inner())?;
        reply(pulled_to_pb(&self.engine.pull_events(&name, pull).await?))
    }

    async fn acknowledge(
        &self,
        request: Request<pb::AcknowledgeRequest>,
    ) -> Result<Response<pb::AcknowledgeResponse>, Status> {
        let request = request.into_inner();
        let (name, cursor) = (ConsumerName::parse(&request.name)?, request.cursor.parse()?);
        let view = self.engine.acknowledge_events(&name, request.generation, cursor).await?;
        reply(pb::AcknowledgeResponse { consumer: Some(consumer_to_pb(&view)) })
    }

    async fn seek(
        &self,
        request: Request<pb::SeekRequest>,
    ) -> Result<Response<pb::SeekResponse>, Status> {
        let request = request.into_inner();
        let (name, to) = (ConsumerName::parse(&request.name)?, request.cursor.parse()?);
        let view = self.engine.seek_consumer(&name, to).await?;
        reply(pb::SeekResponse { consumer: Some(consumer_to_pb(&view)) })
    }

    async fn pause(
        &self,
        request: Request<pb::PauseRequest>,
    ) -> Result<Response<pb::PauseResponse>, Status> {
        let name = ConsumerName::parse(&request.into_inner().name)?;
        let view = self.engine.pause_consumer(&name, true).await?;
        reply(pb::PauseResponse { consumer: Some(consumer_to_pb(&view)) })
    }

    async fn resume(
        &self,
        request: Request<pb::ResumeRequest>,
    ) -> Result<Response<pb::ResumeResponse>, Status> {
        let name = ConsumerName::parse(&request.into_inner().name)?;
        let view = self.engine.pause_consumer(&name, false).await?;
        reply(pb::ResumeResponse { consumer: Some(consumer_to_pb(&view)) })
    }

    async fn delete_consumer(
        &self,
        request: Request<pb::DeleteConsumerRequest>,
    ) -> Result<Response<pb::DeleteConsumerResponse>, Status> {
        let name = ConsumerName::parse(&request.into_inner().name)?;
        self.engine.delete_consumer(&name).await?;
        reply(pb::DeleteConsumerResponse {})
    }
}
