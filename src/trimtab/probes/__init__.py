"""WHAT EVERY MODEL IS ASKED: prompts, facts, requests and word lists, English and Chinese. No torch."""
