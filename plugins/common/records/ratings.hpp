// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <simdjson.h>

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "dt2it/types.hpp"

namespace dt2it::records {

// VLFeedback's completions: {model, response, annotations: {aspect: {Rating, Rationale}}}, as the list of objects that the file
// holds or as the struct of lists that Hugging Face `datasets` makes of it. Each response gets its ratings in `extra`, as
// {"ratings": {aspect: "4"}, "score": mean}; without "score" where one of the three aspects has no number ("N/A").
// DataError starting with `where` when there are no responses.
std::vector<Response> rated_responses(const simdjson::dom::element& completions,
                                      const std::string& where);

bool is_rated(const Response& response);

// The mean that rated_responses left; nothing when there is none.
std::optional<double> rating_of(const Response& response);

}  // namespace dt2it::records
