// Token bytes to the word that is counted: lower case, length, numbers, placeholders.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "tokenize.h"

namespace radfast {

class Folder {
  public:
    explicit Folder(const TokenRules& rules) : rules_(rules) {}

    // The word of a token; empty where the rules drop it. The view lives until the next call.
    std::string_view fold(std::string_view token);

  private:
    std::string_view fold_long(std::string_view token);
    std::string_view apply(std::string_view word, size_t characters) const;

    const TokenRules& rules_;
    std::string word_;
};

}  // namespace radfast
