// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "dt2it/stream.hpp"
#include "plugins/common/records/answer_parser.hpp"

namespace dt2it::records {

// The pairs of a record. Of rated responses (VLFeedback) every two, the higher mean rating chosen, as the authors of that set do.
// What gives no pair is given without messages in its prompt, and with {"dropped": reason, "detail": why} in `extra`: records that
// cannot be used or are no pairs, ties, equal ratings, ratings that are no numbers.
std::vector<PreferencePair> pairs_of(AnswerRecord record, const std::string& source);

// The pairs of a stream of answers. strict: the first record that cannot be used throws DataError, whatever gives no pair for
// another reason (a tie, say) is passed over.
class PairStream final : public Stream<PreferencePair> {
 public:
  PairStream(std::unique_ptr<Stream<AnswerRecord>> answers, std::string source, bool strict)
      : answers_(std::move(answers)), source_(std::move(source)), strict_(strict) {}
  bool next(PreferencePair& pair) override;

 private:
  std::unique_ptr<Stream<AnswerRecord>> answers_;
  const std::string source_;
  const bool strict_;
  std::vector<PreferencePair> ready_;
  std::size_t at_ = 0;
};

}  // namespace dt2it::records
