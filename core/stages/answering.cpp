// SPDX-License-Identifier: Apache-2.0
#include "core/stages/answering.hpp"

#include <fmt/format.h>

#include <map>

#include "core/data/records.hpp"
#include "core/run/layout.hpp"
#include "core/stages/funnel.hpp"

namespace dt2it {

void draw_candidates(CandidateSet& set, const std::string& name, std::int64_t count,
                     Sampling sampling, const std::string& purpose, StageRun& stage) {
  const auto mllm = stage.context().component<Mllm>(name);
  for (std::int64_t k = 0; k < count; ++k) {
    ChatRequest request;
    request.messages = set.prompt.messages;
    request.sampling = sampling;
    request.sampling.sample = k;
    request.purpose = purpose;
    const ChatReply reply = mllm->chat(request);
    Response response;
    response.id = fmt::format("{}", k);
    response.text = reply.text;
    response.mllm = name;
    response.origin = "sampled";
    response.status = reply.status;
    response.finish_reason = reply.finish_reason;
    set.candidates.push_back(std::move(response));
  }
}

void write_candidate_funnel(const StageRun& stage, std::size_t prompts, std::size_t drawn,
                            bool merged) {
  std::map<std::string, std::size_t> failed;
  std::size_t usable = 0, different = 0;
  const CandidateFile results(stage.output / layout::kCandidates);
  for (std::size_t i = 0; i < results.size(); ++i) {
    const CandidateSet set = results.read(i);
    different += set.candidates.size();
    for (const Response& response : set.candidates) {
      if (response.status == Status::ok)
        ++usable;
      else
        ++failed[fmt::format("{}: {}", response.mllm, to_string(response.status))];
    }
  }
  Funnel funnel;
  funnel.step("prompts", prompts);
  if (merged) {
    funnel.step("candidates drawn", drawn);
    funnel.step("different candidates", different);
    funnel.drop("merged", drawn - different);
  }
  funnel.step("candidates", usable);
  for (const auto& [reason, count] : failed) funnel.drop(reason, count);
  funnel.write(stage.output);
}

}  // namespace dt2it
