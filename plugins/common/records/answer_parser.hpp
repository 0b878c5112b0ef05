// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <simdjson.h>

#include <string>

#include "dt2it/types.hpp"
#include "plugins/common/records/columns.hpp"
#include "plugins/common/records/conversation.hpp"

namespace dt2it::records {

// Which program's form records are in; automatic: seen from each record's keys.
enum class AnswerForm {
  automatic,
  dt2it,  // dt2it/types.hpp: {"prompt": {"messages": ...}, "chosen": {...}, "rejected": {...}} or "responses"
  sharegpt,  // LLaMA-Factory's ranking sets, ms-swift: a list of messages, "chosen" and "rejected"
  trl,       // TRL: "prompt", "chosen", "rejected" as texts or lists of messages, "images"
  llava,     // LLaVA, POVID: "conversations" and "image"
  ratings,   // VLFeedback: "completions" with ratings; no pairs by themselves, see pairs_of
  battles,  // WildVision: "conversation_a", "conversation_b", "winner"; a tie is no pair and says so in `detail`
};
AnswerForm answer_form_named(const std::string& name);  // throws ConfigError

// One record. Throws DataError starting with `where` when it cannot be used.
AnswerRecord parse_answers(const simdjson::dom::object& record, AnswerForm form,
                           const Columns& columns, const MediaSource& source,
                           const std::string& where);

// The pair of a record. Throws DataError when it is none.
PreferencePair pair_of(AnswerRecord record, const std::string& source);

}  // namespace dt2it::records
