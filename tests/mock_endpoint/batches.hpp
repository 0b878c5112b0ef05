// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tests/mock_endpoint/cases.hpp"

namespace dt2it::mock {

// Files and batches as the service keeps them. Named by the model of a batch's lines: "mock" is done at the
// second look with its lines in reverse order; "mock:batch_expired" expires with half of them;
// "mock:batch_errors" puts every third into the error file; "mock:batch_failed" is refused as a whole;
// "mock:batch_partial" gives its output cut in the middle the first time; "mock:batch_limited" tells every third line
// off (429) in the first batch; "mock:batch_token_name" refuses max_completion_tokens; "mock:batch_quota" has no
// credit left for every third line; "mock:batch_unheard" makes the first batch and hangs up without an answer;
// "mock:batch_unmade" fails (500) where the first is to be made; "mock:batch_file_gone" has no output for the first;
// "mock:batch_large" has 65 MiB in front of its output; "mock:batch_stateless" never says how it is; "mock:batch_echo"
// refuses every third line with the key that was sent, written as JSON allows.
class Batches {
 public:
  // False: not about files or batches.
  bool handle(const Request& request, const Options& options, Answer& answer);

 private:
  struct Batch {
    std::string id, input, model, output, errors, metadata, status, problem;
    int looks = 0, reads = 0;
    std::size_t total = 0, done = 0;
  };
  std::string describe(const Batch& batch) const;
  void work_on(Batch& batch, const Request& asked, const Options& options);
  bool is_of(const Batch& batch, const std::string& model) const;

  std::map<std::string, std::string> files_;
  std::map<std::string, Batch> batches_;
  std::uint64_t next_ = 1;
  bool failed_once_ = false;
};

}  // namespace dt2it::mock
