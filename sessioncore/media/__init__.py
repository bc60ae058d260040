"""All streams as rows of arrays: receive, play, mix, record and send in one step for all."""
