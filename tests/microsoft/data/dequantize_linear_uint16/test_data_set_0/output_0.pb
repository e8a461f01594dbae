
By0JהדospSrfiNp]rµב)h~q7וטn