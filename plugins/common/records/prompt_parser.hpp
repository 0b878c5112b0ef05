// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <simdjson.h>

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "dt2it/types.hpp"
#include "plugins/common/records/columns.hpp"
#include "plugins/common/records/conversation.hpp"

namespace dt2it::records {

// Keys of records that hold questions; the first one that is there counts.
struct PromptColumns {
  Columns common;  // id, messages, system, question, images, videos and the words of messages
  std::vector<std::string> turns{
      "texts"};  // the_cauldron: a list of {"user", "assistant", "source"}
  std::vector<std::string> reference{"reference", "answer", "fullAnswer", "ground_truth",
                                     "answers",   "label",  "output",     "chosen"};
  std::vector<std::string> choices{"choices", "options"};
  std::vector<std::string> context{"context", "hint"};
  std::vector<std::string> rationale{"rationale", "solution"};
  std::vector<std::string> source{"data_source", "dataset_name", "ds_name"};
  std::vector<std::string> domain;
  std::vector<std::string> image_key{"imageId", "image_id"};  // of a table of images

  PromptColumns();
  // {"question": "text"}: the question is in column "text" alone. Throws ConfigError for a name
  // that is none of the above.
  void rename(const std::map<std::string, std::string>& names);
  std::vector<std::string> keys() const;
};

// What becomes of a conversation of several turns.
enum class Turns {
  automatic,  // of the_cauldron's lists each, of conversations context
  each,       // one prompt a turn, without the turns before it
  context,    // one prompt a turn, with the turns before it
  first,
  last,
};
Turns turns_named(const std::string& name);  // throws ConfigError

struct PromptForm {
  PromptColumns columns;
  Turns turns = Turns::automatic;
  bool rationale = true;  // the reference answer goes on with the record's explanation
};

// The prompts of one record with reference, but with empty ids and sources (which are `source` if
// the record names one). Throws DataError starting with `where`. `images` (may be null): by the
// record's image key, where images lie in a table of their own.
std::vector<Prompt> parse_prompts(const simdjson::dom::object& record, const PromptForm& form,
                                  const MediaSource& source,
                                  const std::map<std::string, Media>* images,
                                  const std::string& where);

}  // namespace dt2it::records
